/* What the programs of a storm share: the journal, random numbers, signals. */

#include "storm.h"
#include <stdarg.h>

unsigned number;
int slow;

uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void nap(long us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};
	nanosleep(&t, NULL); /* a signal may end it early */
}

static __thread uint64_t state;

void sow(uint64_t seed) { state = seed * 0x9e3779b97f4a7c15ull + 1; }

unsigned draw(unsigned below) /* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (unsigned)((state * 0x2545f4914f6cdd1dull) >> 33) % below;
}

static void line(char kind, const char *format, va_list list)
{
	char text[256];
	int n = snprintf(text, sizeof text, "%c %llu %d %d %x ", kind, (unsigned long long)now(), getpid(),
			 (int)syscall(SYS_gettid), number);
	n += vsnprintf(text + n, sizeof text - n - 1, format, list);
	if (n > (int)sizeof text - 2)
		n = sizeof text - 2;
	text[n++] = '\n';
	while (write(JOURNAL, text, n) < 0 && errno == EINTR)
		;
}

void note(char kind, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	line(kind, format, list);
	va_end(list);
}

void begin(unsigned open, const char *call, const char *format, ...)
{
	char text[160];
	va_list list;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	note('B', "%x %s %s", open, call, text);
}

long end(unsigned open, const char *call, long returned)
{
	int number_of = returned < 0 ? errno : 0;
	note('E', "%x %s %ld %d", open, call, returned, number_of);
	errno = number_of;
	return returned;
}

static void nothing(int signal) { (void)signal; }

static void handle(int restart)
{
	struct sigaction a = {.sa_handler = nothing, .sa_flags = restart ? SA_RESTART : 0};
	sigaction(SIGALRM, &a, NULL);
}

void alarm_in(long us, int restart)
{
	struct itimerval v = {{0, us > 0 ? 20000 : 0}, {us / 1000000, us % 1000000}};
	handle(restart);
	setitimer(ITIMER_REAL, &v, NULL);
}

void alarm_storm(int on, int restart)
{
	struct itimerval v = {{0, on ? 1500 : 0}, {0, on ? 1000 : 0}};
	handle(restart);
	setitimer(ITIMER_REAL, &v, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 5 && strcmp(argv[1], "program") == 0)
		return program(argc, argv);
	if (argc == 2 && strcmp(argv[1], "direct") == 0)
		return direct();
	if (argc == 2 && strcmp(argv[1], "strangers") == 0)
		return strangers();
	return 2;
}
