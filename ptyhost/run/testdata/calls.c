/* Calls on a serial port under signals, stops and killed supervisors: calls PATH WHAT [N]. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "want.h"

static int port(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	WANT(fd >= 0);
	WANT(fcntl(fd, F_SETFL, 0) == 0);
	return fd;
}

static volatile int rang, rings = -1; /* signals so far, and at most; -1: any number */

static void ring(int number)
{
	static const struct itimerval off;
	(void)number;
	if (++rang == rings)
		setitimer(ITIMER_REAL, &off, NULL);
}

static void alarms(int flags, int first_us, int again_us)
{
	struct sigaction a = {.sa_handler = ring, .sa_flags = flags};
	struct itimerval v = {{0, again_us}, {0, first_us}};
	WANT(sigaction(SIGALRM, &a, NULL) == 0);
	WANT(setitimer(ITIMER_REAL, &v, NULL) == 0);
}

static long ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

/* opens: every open returns a descriptor of its own, of a character device. */
static void opens(const char *path, int n)
{
	struct stat st;
	int i, fd, bad = 0;
	say("ready");
	for (i = 0; i < n; i++) {
		fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
		if (fd <= 2 || fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode)) {
			printf("open %d: %d (%s)\n", i, fd, strerror(errno));
			bad++;
		}
		if (fd > 2)
			close(fd);
	}
	printf("%d of %d opens were wrong\n", bad, n);
	WANT(bad == 0);
}

/* apart: the same in a daemon, which signals to the process group do not reach. */
static void apart(const char *path, int n)
{
	WANT(setsid() >= 0);
	opens(path, n);
}

/* restarts: short calls under a timer with SA_RESTART. None fails, and none is performed twice. */
static void restarts(const char *path, int n)
{
	int fd = port(path), i, bits = TIOCM_RTS;
	struct termios t;
	alarms(SA_RESTART, 100, 100);
	for (i = 0; i < n; i++) {
		WANT(ioctl(fd, TIOCMBIC, &bits) == 0);
		WANT(ioctl(fd, TIOCMBIS, &bits) == 0);
		WANT(tcflush(fd, TCOFLUSH) == 0);
		WANT(tcgetattr(fd, &t) == 0);
		WANT(tcsetattr(fd, TCSANOW, &t) == 0);
	}
	alarms(SA_RESTART, 0, 0);
	printf("%d signals\n", rang);
}

/* interrupted: short calls under a timer without SA_RESTART. One may fail with EINTR, and may have had its effect then. */
static void interrupted(const char *path, int n)
{
	int fd = port(path), i, failed = 0, done = 0;
	struct termios t, back;
	WANT(tcgetattr(fd, &t) == 0);
	alarms(0, 100, 100);
	for (i = 0; i < n; i++) {
		cfsetspeed(&t, i % 2 ? B9600 : B19200);
		if (ioctl(fd, TCSETS, &t) != 0) { /* glibc's struct begins like the kernel's */
			WANT(errno == EINTR);
			failed++;
			while (ioctl(fd, TCGETS, &back) != 0)
				WANT(errno == EINTR);
			done += (back.c_cflag & CBAUD) == (t.c_cflag & CBAUD);
		}
	}
	alarms(0, 0, 0);
	printf("%d signals, %d of %d calls failed with EINTR, %d of them had their effect\n", rang, failed, n, done);
}

/* memory: what a call that fails with EINTR was to read is not read afterwards. What it was to write may be written a moment
   later, because nothing stops the thread between a check of the call and the write: that is counted. */
static void memory(const char *path, int n)
{
	int fd = port(path), i, j, failed = 0, wrong = 0;
	volatile int bits;
	struct termios good, t;
	WANT(tcgetattr(fd, &good) == 0);
	alarms(0, 100, 100);
	for (i = 0; i < n; i++) {
		if (ioctl(fd, TIOCMGET, &bits) != 0) {
			WANT(errno == EINTR);
			failed++;
			bits = 0x5a5a5a5a;
			for (j = 0; j < 50; j++)
				sched_yield();
			wrong += bits != 0x5a5a5a5a;
		}
		t = good;
		if (ioctl(fd, TCSETS, &t) != 0) {
			WANT(errno == EINTR);
			t.c_cflag = (t.c_cflag & ~CBAUD) | B50;
			for (j = 0; j < 50; j++)
				sched_yield();
		}
	}
	alarms(0, 0, 0);
	printf("%d of %d calls failed with EINTR, %d wrote afterwards\n", failed, n, wrong);
}

/* breaks: a signal with SA_RESTART in the middle of a break causes no second one. */
static void breaks(const char *path, int n)
{
	int fd = port(path), i;
	for (i = 0; i < n; i++) {
		long began = ms();
		rang = 0;
		rings = 3; /* not at its very end, when the call may restart although the answer was accepted */
		alarms(SA_RESTART, 20000, 40000);
		WANT(tcsendbreak(fd, 0) == 0);
		alarms(SA_RESTART, 0, 0);
		WANT(rang > 0 && ms() - began < 10000);
	}
	rang = 0;
	rings = 1;
	alarms(0, 50000, 0); /* without SA_RESTART the call fails with EINTR, and the break keeps its length */
	WANT(tcsendbreak(fd, 0) == -1 && errno == EINTR);
	WANT(rang == 1);
}

/* held: an open that waits for its session is interrupted many times, and is one open. */
static void held(const char *path, int n)
{
	int fd;
	(void)n;
	alarms(SA_RESTART, 10000, 10000);
	fd = open(path, O_RDWR | O_NOCTTY);
	WANT(fd > 2);
	alarms(SA_RESTART, 0, 0);
	printf("%d signals\n", rang);
	WANT(rang > 3);
	alarms(0, 1000, 0);
	WANT(close(fd) == 0);
	alarms(0, 0, 0);
}

static const char *device;
static int shared;
static volatile int changed;

static void *wait_line(void *unused)
{
	(void)unused;
	if (ioctl(shared, TIOCMIWAIT, TIOCM_CTS) != 0)
		printf("TIOCMIWAIT: %s\n", strerror(errno));
	else
		say("a line has changed");
	__sync_fetch_and_add(&changed, 1);
	return NULL;
}

static void *wait_drain(void *unused)
{
	(void)unused;
	if (tcdrain(shared) != 0)
		printf("tcdrain: %s\n", strerror(errno));
	else
		say("drained");
	return NULL;
}

/* n threads wait for a modem line and, if drain is set, one for the far end to be empty. At the end of standard input the line
   changes. */
static void wait_all(const char *path, int n, int drain)
{
	pthread_t t[100], d = 0;
	struct termios tio;
	char text[90];
	int i, bits = TIOCM_RTS;
	shared = port(path);
	for (i = 0, bits = 0; i < 2000 && !(bits & TIOCM_CTS); i++) {
		WANT(ioctl(shared, TIOCMGET, &bits) == 0);
		usleep(5000);
	}
	WANT(tcgetattr(shared, &tio) == 0);
	cfmakeraw(&tio);
	cfsetspeed(&tio, B300);
	WANT(tcsetattr(shared, TCSANOW, &tio) == 0);
	memset(text, 'U', sizeof text);
	for (i = 0; i < n; i++)
		WANT(pthread_create(&t[i], NULL, wait_line, NULL) == 0);
	WANT(!drain || write(shared, text, sizeof text) == sizeof text);
	WANT(!drain || pthread_create(&d, NULL, wait_drain, NULL) == 0);
	usleep(300000);
	say("ready");
	while (getchar() != EOF)
		;
	bits = TIOCM_RTS;
	WANT(!drain || pthread_join(d, NULL) == 0);
	for (i = 0; changed < n && i < 400; i++) { /* a call that is just being restarted misses an edge, as in any driver */
		WANT(ioctl(shared, i % 2 ? TIOCMBIS : TIOCMBIC, &bits) == 0);
		usleep(50000);
	}
	for (i = 0; i < n; i++)
		WANT(pthread_join(t[i], NULL) == 0);
}

static void waits(const char *path, int n)
{
	wait_all(path, n, 1);
}

static void lines(const char *path, int n)
{
	wait_all(path, n, 0);
}

static void *busy(void *opens)
{
	struct termios t;
	int fd, i, bits;
	for (i = 0;; i++) {
		if (opens != NULL && (fd = open(i % 4 ? "/dev/null" : device, O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0)
			close(fd);
		if (ioctl(shared, TIOCMGET, &bits) != 0)
			break;
		tcgetattr(shared, &t);
	}
	WANT(errno == EIO || errno == ENOTTY);
	return NULL;
}

/* outlives: threads make calls all the time until telnetcpc is killed; then all of them end. */
static void outlives(const char *path, int n)
{
	pthread_t t[100];
	int i;
	device = path;
	shared = port(path);
	for (i = 0; i < n; i++)
		WANT(pthread_create(&t[i], NULL, busy, i % 2 ? &shared : NULL) == 0);
	usleep(20000);
	say("ready");
	for (i = 0; i < n; i++)
		WANT(pthread_join(t[i], NULL) == 0);
}

static void *open_again(void *unused)
{
	int fd;
	(void)unused;
	while ((fd = open(device, O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0) {
		if (fd <= 2) {
			printf("open returned %d\n", fd);
			fflush(stdout);
			_exit(1);
		}
		WANT(close(fd) == 0);
	}
	WANT(errno == ENOENT || errno == EIO);
	return NULL;
}

/* reopens: n threads open and close all the time, until the port is gone. */
static void reopens(const char *path, int n)
{
	pthread_t t[100];
	int i;
	device = path;
	for (i = 0; i < n; i++)
		WANT(pthread_create(&t[i], NULL, open_again, NULL) == 0);
	usleep(20000);
	say("ready");
	for (i = 0; i < n; i++)
		WANT(pthread_join(t[i], NULL) == 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const char *path, int n);
	} all[] = {
		{"opens", opens}, {"apart", apart}, {"restarts", restarts}, {"interrupted", interrupted}, {"memory", memory}, {"breaks", breaks}, {"held", held},
		{"waits", waits}, {"lines", lines}, {"outlives", outlives},
		{"reopens", reopens},
	};
	size_t i;
	if (argc < 3)
		return 2;
	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		if (strcmp(argv[2], all[i].name) == 0) {
			all[i].run(argv[1], argc > 3 ? atoi(argv[3]) : 1);
			say("ok");
			return 0;
		}
	return 2;
}
