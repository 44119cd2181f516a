/* What a program does to its serial port faster than a remote takes it, and what needs privileges, for the tests of this package:
 * events PATH CHECK. It prints "ok", or what is wrong, and fails. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include "want.h"

/* struct termios2 of asm/termbits.h, which cannot be included together with termios.h. */
struct termios2 {
	unsigned int iflag, oflag, cflag, lflag;
	unsigned char line, cc[19];
	unsigned int ispeed, ospeed;
};
#define GETS2 _IOR('T', 0x2A, struct termios2)
#define SETS2 _IOW('T', 0x2B, struct termios2)
#define OTHER 0010000 /* BOTHER */

static int opened(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	WANT(fd >= 0);
	WANT(fcntl(fd, F_SETFL, 0) == 0);
	return fd;
}

static int edge(int fd, int i)
{
	int bits = TIOCM_RTS;
	return ioctl(fd, i % 2 ? TIOCMBIS : TIOCMBIC, &bits);
}

/* edges: RTS changes 20,000 times, with a byte before every 250th change, at a rate at which the line takes no time. */
static void edges(const char *path)
{
	struct termios2 t;
	int fd = opened(path), i;
	WANT(ioctl(fd, GETS2, &t) == 0);
	t.cflag = (t.cflag & ~CBAUD) | OTHER;
	t.ispeed = t.ospeed = 20000000;
	WANT(ioctl(fd, SETS2, &t) == 0);
	for (i = 0; i < 20000; i++) {
		unsigned char b = i / 250;
		if (i % 250 == 0)
			WANT(write(fd, &b, 1) == 1);
		WANT(edge(fd, i) == 0);
	}
}

static volatile sig_atomic_t rang;

static void ring(int number)
{
	(void)number;
	rang++;
}

/* held: changes block until somebody takes those before them. A signal interrupts the blocked call, which then has had no
 * effect; with SA_RESTART it is restarted. */
static void held(const char *path)
{
	struct itimerval v = {.it_value = {.tv_usec = 300000}};
	struct sigaction a = {.sa_handler = ring};
	int fd = opened(path), i, bits;
	WANT(sigaction(SIGALRM, &a, NULL) == 0);
	WANT(setitimer(ITIMER_REAL, &v, NULL) == 0);
	for (i = 0; edge(fd, i) == 0; i++)
		WANT(i < 2000);
	WANT(errno == EINTR && rang == 1 && i > 200);
	WANT(ioctl(fd, TIOCMGET, &bits) == 0);
	WANT(!!(bits & TIOCM_RTS) == !(i % 2));
	a.sa_flags = SA_RESTART;
	WANT(sigaction(SIGALRM, &a, NULL) == 0);
	WANT(setitimer(ITIMER_REAL, &v, NULL) == 0);
	printf("held after %d\n", i);
	fflush(stdout);
	for (; i < 2000; i++)
		WANT(edge(fd, i) == 0);
	WANT(rang == 2);
}

/* ends: the port is closed during a blocked call. */
static void ends(const char *path)
{
	int fd = opened(path), i;
	for (i = 0; edge(fd, i) == 0; i++)
		WANT(i < 2000);
	WANT(errno == EIO && i > 200);
}

/* dies: the program is killed in a blocked call, while nobody takes what it does. */
static void dies(const char *path)
{
	int fd = opened(path), i;
	printf("pid %d\n", getpid());
	fflush(stdout);
	for (i = 0; i < 2000; i++)
		WANT(edge(fd, i) == 0);
}

/* lines: DTR and RTS are raised in turn until a change fails because the port is closed. Every blocked change raises one. */
static void *lines(void *fd)
{
	int i, bits;
	for (i = 0; bits = i % 2 ? TIOCM_DTR : TIOCM_RTS, ioctl(*(int *)fd, TIOCMSET, &bits) == 0; i++)
		WANT(i < 2000);
	WANT(errno == EIO && i > 200);
	return NULL;
}

/* raises: the program is killed in a blocked call that would raise a line. */
static void raises(const char *path)
{
	int fd = opened(path);
	printf("pid %d\n", getpid());
	fflush(stdout);
	lines(&fd);
}

/* shut: another thread closes the descriptor of such a call, when the program gets a signal. */
static void shut(const char *path)
{
	int fd = opened(path), number;
	pthread_t t;
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	WANT(pthread_sigmask(SIG_BLOCK, &s, NULL) == 0);
	WANT(pthread_create(&t, NULL, lines, &fd) == 0);
	printf("pid %d\n", getpid());
	fflush(stdout);
	WANT(sigwait(&s, &number) == 0);
	WANT(close(fd) == 0);
	WANT(pthread_join(t, NULL) == 0);
}

static void every(int milliseconds)
{
	struct itimerval v = {{0, milliseconds * 1000}, {0, milliseconds * 1000}};
	struct sigaction a = {.sa_handler = ring, .sa_flags = SA_RESTART};
	WANT(sigaction(SIGALRM, &a, NULL) == 0);
	WANT(setitimer(ITIMER_REAL, &v, NULL) == 0);
}

/* ticks: a timer makes the kernel restart every call that waits again and again. Nothing that the program did leaves. */
static void ticks(const char *path)
{
	int fd = opened(path), i;
	every(100);
	for (i = 0; i < 300; i++)
		WANT(edge(fd, i) == 0);
	WANT(write(fd, "x", 1) == 1 && close(fd) == 0);
	WANT((fd = open(path, O_RDWR | O_NOCTTY)) >= 0);
	WANT(rang > 3);
}

/* serial: a privileged program sets what belongs to the driver, and it survives the last close. */
static void serial(const char *path)
{
	struct serial_struct s, back;
	int fd = opened(path);
	WANT(ioctl(fd, TIOCGSERIAL, &s) == 0);
	WANT(s.closing_wait == 3000 && s.close_delay == 50);
	s.closing_wait = ASYNC_CLOSING_WAIT_NONE;
	s.close_delay = 7;
	s.flags |= ASYNC_LOW_LATENCY | ASYNC_SKIP_TEST;
	s.irq = 3;
	WANT(ioctl(fd, TIOCSSERIAL, &s) == 0);
	WANT(close(fd) == 0);
	fd = opened(path);
	WANT(ioctl(fd, TIOCGSERIAL, &back) == 0);
	WANT(back.closing_wait == s.closing_wait && back.close_delay == 7 && back.flags == s.flags && back.irq == 0);
	WANT(write(fd, "x", 1) == 1 && close(fd) == 0);
}

/* remarks: warnings about the settings are logged while the log blocks. */
static void remarks(const char *path)
{
	struct termios t;
	int fd = opened(path), i;
	WANT(tcgetattr(fd, &t) == 0);
	t.c_cflag |= CRTSCTS;
	t.c_iflag |= IXON;
	for (i = 0; i < 3; i++) {
		WANT(tcsetattr(fd, TCSANOW, &t) == 0);
		WANT(edge(fd, i) == 0);
	}
	WANT(write(fd, "x", 1) == 1 && close(fd) == 0);
	WANT((fd = opened(path)) >= 0 && close(fd) == 0);
}

struct request {
	int fd;
	unsigned long number;
	char *page;
};

static void *requests(void *unused)
{
	struct request *r = unused;
	(void)ioctl(r->fd, r->number, r->page);
	return NULL;
}

/* faults: the memory that a call refers to is not present yet, and its pager does not answer for now. */
static void faults(const char *path)
{
	static const unsigned long numbers[] = {TIOCMGET, TIOCMBIS, TCGETS, TCSETS, TIOCGICOUNT, TIOCGSERIAL, TIOCSSERIAL};
	enum { n = sizeof numbers / sizeof numbers[0] };
	int fd = opened(path), server, bits, i;
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register all = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	struct request r[n];
	pthread_t t[n];
	char *pages;
	WANT((server = (int)syscall(SYS_userfaultfd, O_CLOEXEC)) >= 0 && ioctl(server, UFFDIO_API, &api) == 0);
	WANT((pages = mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
	all.range.start = (unsigned long)pages, all.range.len = n * 4096;
	WANT(ioctl(server, UFFDIO_REGISTER, &all) == 0);
	alarm(20); /* otherwise all of them would wait forever */
	for (i = 0; i < n; i++) {
		r[i] = (struct request){fd, numbers[i], pages + i * 4096};
		WANT(pthread_create(&t[i], NULL, requests, &r[i]) == 0);
	}
	for (i = 0; i < n; i++) {
		struct uffd_msg m; /* the call's memory is requested */
		WANT(read(server, &m, sizeof m) == sizeof m && m.event == UFFD_EVENT_PAGEFAULT);
	}
	WANT(ioctl(fd, TIOCMGET, &bits) == 0);
	WANT(close(opened(path)) == 0);
	alarm(0);
	WANT(close(server) == 0); /* now the memory is zero */
	for (i = 0; i < n; i++)
		WANT(pthread_join(t[i], NULL) == 0);
	WANT(close(fd) == 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*check)(const char *path);
	} checks[] = {
		{"edges", edges}, {"held", held}, {"ends", ends}, {"dies", dies}, {"serial", serial}, {"remarks", remarks},
		{"raises", raises}, {"shut", shut}, {"ticks", ticks}, {"faults", faults},
	};
	size_t i;
	if (argc != 3)
		return 2;
	for (i = 0; i < sizeof checks / sizeof checks[0]; i++)
		if (strcmp(argv[2], checks[i].name) == 0) {
			checks[i].check(argv[1]);
			printf("ok\n");
			return 0;
		}
	return 2;
}
