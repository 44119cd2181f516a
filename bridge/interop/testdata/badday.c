/* A program at the port that is its argument. It does what it is told line by line, and answers each line with one:
 * "open", "close", "baud N" (raw, at once), "write TEXT", "fill N" (so many bytes), "drain" (answered with the time at
 * which tcdrain returned, in nanoseconds of CLOCK_MONOTONIC), "end N" (with that exit status). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static int fd = -1;

static int set(long baud)
{
	static const struct { long baud; speed_t speed; } rates[] = {
		{ 1200, B1200 }, { 9600, B9600 }, { 19200, B19200 }, { 38400, B38400 }, { 115200, B115200 },
	};
	struct termios t;
	size_t i;

	for (i = 0; i < sizeof rates / sizeof *rates; i++)
		if (rates[i].baud == baud) {
			if (tcgetattr(fd, &t))
				return -1;
			cfmakeraw(&t);
			t.c_cflag |= CLOCAL;
			cfsetspeed(&t, rates[i].speed);
			return tcsetattr(fd, TCSANOW, &t);
		}
	errno = EINVAL;
	return -1;
}

static int all(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t m = write(fd, p, n);

		if (m < 0)
			return -1;
		p += m;
		n -= m;
	}
	return 0;
}

static int fill(size_t n)
{
	char *p = malloc(n);
	int failed;

	if (!p)
		return -1;
	memset(p, 'U', n);
	failed = all(p, n);
	free(p);
	return failed;
}

static int drain(void)
{
	struct timespec now;

	if (tcdrain(fd) || clock_gettime(CLOCK_MONOTONIC, &now))
		return -1;
	printf("%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
	return 0;
}

int main(int argc, char **argv)
{
	char order[256];

	if (argc != 2)
		return 2;
	while (fgets(order, sizeof order, stdin)) {
		char *argument = strchr(order, ' ');
		int failed = 0, said = 0;

		order[strcspn(order, "\n")] = 0;
		if (argument)
			*argument++ = 0;
		else
			argument = "";
		if (!strcmp(order, "open"))
			failed = (fd = open(argv[1], O_RDWR | O_NOCTTY)) < 0;
		else if (!strcmp(order, "close"))
			failed = close(fd);
		else if (!strcmp(order, "baud"))
			failed = set(atol(argument));
		else if (!strcmp(order, "write"))
			failed = all(argument, strlen(argument));
		else if (!strcmp(order, "fill"))
			failed = fill(atol(argument));
		else if (!strcmp(order, "drain"))
			said = !(failed = drain());
		else if (!strcmp(order, "end"))
			return atoi(argument);
		if (failed)
			printf("%s: %s\n", order, strerror(errno));
		else if (!said)
			puts("done");
		fflush(stdout);
	}
	return 0;
}
