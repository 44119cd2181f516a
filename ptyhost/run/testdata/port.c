/* What a program does to its serial port, for the tests of this package: port PATH CHECK. It prints "ok", or what is wrong, and
 * fails. The far end is a loopback: bytes come back, RTS is CTS, DTR is DSR, DCD and RI. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <pthread.h>
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

/* struct termio of asm/termios.h, which cannot be included together with termios.h. */
struct old {
	unsigned short iflag, oflag, cflag, lflag;
	unsigned char line, cc[8];
};
#define GETA 0x5405
#define SETA 0x5406

static int opened(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	WANT(fd >= 0);
	WANT(fcntl(fd, F_SETFL, 0) == 0);
	return fd;
}

static void loop(int fd, const char *text)
{
	char got[64];
	size_t n = 0;
	WANT(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	while (n < strlen(text)) {
		ssize_t m = read(fd, got + n, strlen(text) - n);
		WANT(m > 0);
		n += m;
	}
	WANT(memcmp(got, text, n) == 0);
}

static void pause_ms(int ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
	while (nanosleep(&t, &t) != 0)
		;
}

/* line waits until a modem line is on or off. */
static void line(int fd, int bit, int on)
{
	int bits = 0, i;
	for (i = 0; i < 2000; i++) {
		WANT(ioctl(fd, TIOCMGET, &bits) == 0);
		if (!!(bits & bit) == on)
			return;
		pause_ms(5);
	}
	WANT(!"the line as it should be");
}

static void settings(const char *path)
{
	struct termios t, back;
	struct serial_icounter_struct n, later;
	struct serial_struct s;
	struct old o;
	int fd = opened(path), bits, lsr;

	WANT(isatty(fd));
	WANT(tcgetattr(fd, &t) == 0);
	WANT(cfgetospeed(&t) == B9600 && (t.c_cflag & CSIZE) == CS8 && !(t.c_cflag & PARENB) && !(t.c_lflag & (ICANON | ECHO)));
	cfmakeraw(&t);
	cfsetspeed(&t, B19200);
	t.c_cflag = (t.c_cflag & ~CSIZE) | CS7 | PARENB | CLOCAL | CREAD;
	WANT(tcsetattr(fd, TCSANOW, &t) == 0);
	WANT(tcsetattr(fd, TCSADRAIN, &t) == 0);
	WANT(tcsetattr(fd, TCSAFLUSH, &t) == 0);
	WANT(tcgetattr(fd, &back) == 0);
	WANT(back.c_cflag == t.c_cflag && cfgetospeed(&back) == B19200 && cfgetispeed(&back) == B19200);
	WANT(back.c_iflag == t.c_iflag && back.c_lflag == t.c_lflag && back.c_oflag == t.c_oflag);

	WANT(ioctl(fd, GETA, &o) == 0);
	WANT((o.cflag & CSIZE) == CS7 && (o.cflag & PARENB));
	o.cflag = (o.cflag & ~CSIZE) | CS6 | PARODD;
	WANT(ioctl(fd, SETA, &o) == 0);
	WANT(tcgetattr(fd, &back) == 0);
	WANT((back.c_cflag & (CSIZE | PARENB | PARODD)) == (CS6 | PARENB | PARODD));
	o.cflag = (o.cflag & ~CSIZE) | CS8;
	WANT(ioctl(fd, SETA, &o) == 0);

	WANT(ioctl(fd, TIOCMGET, &bits) == 0);
	WANT((bits & (TIOCM_DTR | TIOCM_RTS)) == (TIOCM_DTR | TIOCM_RTS));
	line(fd, TIOCM_CTS, 1);
	WANT(ioctl(fd, TIOCGICOUNT, &n) == 0);
	bits = TIOCM_RTS;
	WANT(ioctl(fd, TIOCMBIC, &bits) == 0);
	line(fd, TIOCM_CTS, 0);
	WANT(ioctl(fd, TIOCMBIS, &bits) == 0);
	line(fd, TIOCM_CTS, 1);

	loop(fd, "hello");
	WANT(tcdrain(fd) == 0);
	WANT(ioctl(fd, TIOCOUTQ, &bits) == 0 && bits == 0);
	WANT(ioctl(fd, TIOCSERGETLSR, &lsr) == 0 && lsr == TIOCSER_TEMT);
	WANT(ioctl(fd, TIOCGICOUNT, &later) == 0);
	WANT(later.cts == n.cts + 2 && later.rx == n.rx + 5 && later.tx == n.tx + 5);
	WANT(tcsendbreak(fd, 0) == 0);
	WANT(tcflush(fd, TCIOFLUSH) == 0);
	WANT(tcflush(fd, 7) == -1 && errno == EINVAL);

	WANT(ioctl(fd, TIOCGSERIAL, &s) == 0);
	WANT(s.type == PORT_16550A && s.baud_base > 0);
	s.flags = (s.flags & ~ASYNC_SPD_MASK) | ASYNC_SPD_CUST;
	s.custom_divisor = s.baud_base / 31250;
	WANT(ioctl(fd, TIOCSSERIAL, &s) == 0);
	cfsetspeed(&t, B38400);
	WANT(tcsetattr(fd, TCSANOW, &t) == 0);
	s.irq = 3;
	WANT(ioctl(fd, TIOCSSERIAL, &s) == -1 && errno == EPERM);
	WANT(ioctl(fd, TIOCMGET, (int *)8) == -1 && errno == EFAULT);
	WANT(close(fd) == 0);
}

/* exclusive: TIOCEXCL makes a second open fail, until the last close. */
static void exclusive(const char *path)
{
	int fd = opened(path);
	WANT(ioctl(fd, TIOCEXCL) == 0);
	WANT(open(path, O_RDWR | O_NOCTTY) == -1 && (errno == EBUSY || geteuid() == 0));
	WANT(close(fd) == 0);
	WANT(close(opened(path)) == 0);
}

static int shared;
static volatile int woken;

static void *waits(void *unused)
{
	(void)unused;
	WANT(ioctl(shared, TIOCMIWAIT, TIOCM_CTS) == 0);
	woken = 1;
	return NULL;
}

/* threads: one waits for a modem line while another writes and reads. */
static void threads(const char *path)
{
	pthread_t t;
	int i, bits = TIOCM_RTS;
	shared = opened(path);
	line(shared, TIOCM_CTS, 1);
	WANT(pthread_create(&t, NULL, waits, NULL) == 0);
	for (i = 0; i < 50; i++)
		loop(shared, "one waits, one writes");
	WANT(!woken);
	WANT(ioctl(shared, TIOCMBIC, &bits) == 0);
	WANT(pthread_join(t, NULL) == 0 && woken);
}

static volatile int rang;

static void nothing(int number)
{
	(void)number;
	rang = 1;
}

static void handler(void (*f)(int), int flags, int ms, int again_us)
{
	struct sigaction a = {.sa_handler = f, .sa_flags = flags};
	struct itimerval v = {{0, again_us}, {0, ms * 1000}};
	WANT(sigaction(SIGALRM, &a, NULL) == 0);
	WANT(setitimer(ITIMER_REAL, &v, NULL) == 0);
}

/* signals: they interrupt calls that wait; with SA_RESTART the calls are restarted. */
static void signals(const char *path)
{
	struct termios t;
	char text[60];
	pid_t child;
	int bits = TIOCM_RTS;
	shared = opened(path);
	line(shared, TIOCM_CTS, 1);
	handler(nothing, 0, 100, 0);
	WANT(ioctl(shared, TIOCMIWAIT, TIOCM_CTS) == -1 && errno == EINTR);
	rang = 0;
	handler(nothing, SA_RESTART, 100, 0);
	child = fork();
	WANT(child >= 0);
	if (child == 0) { /* changes the line after the signal */
		pause_ms(500);
		WANT(ioctl(shared, TIOCMBIC, &bits) == 0);
		_exit(0);
	}
	WANT(ioctl(shared, TIOCMIWAIT, TIOCM_CTS) == 0);
	WANT(rang && waitpid(child, NULL, 0) == child);

	WANT(tcgetattr(shared, &t) == 0);
	cfsetspeed(&t, B300);
	WANT(tcsetattr(shared, TCSANOW, &t) == 0);
	memset(text, 'U', sizeof text);
	WANT(write(shared, text, sizeof text) == sizeof text);
	handler(nothing, 0, 100, 0);
	WANT(tcdrain(shared) == -1 && errno == EINTR);
	WANT(tcflush(shared, TCIOFLUSH) == 0);
}

/* storm: a timer that fires all the time makes no call fail, and none happen twice: RTS falls and rises 100 times. More changes
 * might be merged. */
static void storm(const char *path)
{
	int i, bits = TIOCM_RTS;
	shared = opened(path);
	handler(nothing, SA_RESTART, 1, 200);
	for (i = 0; i < 100; i++) {
		int other = open("/dev/null", O_RDWR);
		WANT(other >= 0 && close(other) == 0);
		WANT(ioctl(shared, TIOCMBIC, &bits) == 0);
		WANT(ioctl(shared, TIOCMBIS, &bits) == 0);
	}
	handler(nothing, SA_RESTART, 0, 0);
}

/* orphan: a program that has forked twice, and whose parents have exited, still has a whole port. */
static void orphan(const char *path)
{
	pid_t child = fork();
	WANT(child >= 0);
	if (child == 0) {
		if (fork() != 0)
			_exit(0);
		while (getppid() == child)
			pause_ms(1);
		settings(path);
		printf("the orphan: ok\n");
		exit(0);
	}
	WANT(waitpid(child, NULL, 0) == child);
}

static int ended;

static void *waits_for_end(void *unused)
{
	(void)unused;
	WANT(ioctl(shared, TIOCMIWAIT, TIOCM_CTS) == -1 && errno == EIO);
	ended = 1;
	return NULL;
}

/* survives: telnetcpc is killed when this prints "ready". The port hangs up; calls on other files work as before. */
static void survives(const char *path)
{
	pthread_t t;
	char c;
	int other;
	struct termios tio;
	shared = opened(path);
	line(shared, TIOCM_CTS, 1);
	WANT(pthread_create(&t, NULL, waits_for_end, NULL) == 0);
	pause_ms(200); /* so that it waits; if too short, the test only sees less */
	printf("ready\n");
	fflush(stdout);
	WANT(read(shared, &c, 1) <= 0);
	WANT(pthread_join(t, NULL) == 0 && ended);
	WANT(write(shared, "x", 1) == -1 && errno == EIO);
	WANT(tcgetattr(shared, &tio) == -1 && errno == EIO);
	WANT((other = open("/dev/null", O_RDWR)) >= 0);
	WANT(tcgetattr(other, &tio) == -1 && errno == ENOTTY);
	WANT(open(path, O_RDWR) == -1 && errno == ENOENT);
}

/* terminal: the port becomes the controlling terminal of a session that opens it without O_NOCTTY, and a break from the device
 * interrupts the session if BRKINT is set. */
static void terminal(const char *unused)
{
	const char *path = getenv("TELNETCPC_PORT");
	struct termios t;
	struct sigaction a = {.sa_handler = nothing};
	int fd, i;
	pid_t child = fork();
	(void)unused;
	WANT(child >= 0);
	if (child != 0) {
		WANT(waitpid(child, &i, 0) == child && i == 0);
		return;
	}
	WANT(setsid() > 0);
	WANT(open("/dev/tty", O_RDWR) == -1);
	WANT((fd = open(path, O_RDWR | O_NOCTTY)) >= 0 && close(fd) == 0);
	WANT(open("/dev/tty", O_RDWR) == -1);
	WANT((fd = open(path, O_RDWR)) >= 0);
	WANT(open("/dev/tty", O_RDWR) >= 0);
	WANT(tcgetattr(fd, &t) == 0);
	t.c_iflag |= BRKINT;
	WANT(tcsetattr(fd, TCSANOW, &t) == 0);
	WANT(sigaction(SIGINT, &a, NULL) == 0);
	WANT(tcsendbreak(fd, 0) == 0 || errno == EINTR);
	for (i = 0; i < 2000 && !rang; i++)
		pause_ms(5);
	WANT(rang);
	exit(0);
}

/* carrier: when DCD falls a port without CLOCAL hangs up; opened again, it works. */
static void carrier(const char *path)
{
	struct termios t;
	int fd = opened(path), bits = TIOCM_DTR;
	char c;
	line(fd, TIOCM_CAR, 1);
	WANT(tcgetattr(fd, &t) == 0);
	t.c_cflag &= ~CLOCAL;
	cfsetspeed(&t, B4800);
	WANT(tcsetattr(fd, TCSANOW, &t) == 0);
	loop(fd, "before");
	WANT(ioctl(fd, TIOCMBIC, &bits) == 0);
	WANT(read(fd, &c, 1) <= 0);
	while (write(fd, "x", 1) == 1) /* pty_close wakes readers a moment before it hangs the slave up */
		pause_ms(1);
	WANT(errno == EIO);
	WANT(tcgetattr(fd, &t) == -1 && errno == EIO);
	fd = open(path, O_RDWR | O_NOCTTY); /* waits for the carrier, which DTR brings back */
	WANT(fd >= 0);
	WANT(tcgetattr(fd, &t) == 0 && cfgetospeed(&t) == B4800 && !(t.c_cflag & CLOCAL));
	loop(fd, "after");
	WANT(close(fd) == 0);
	pause_ms(300); /* until DCD has followed DTR and fallen: else it would hang up the next open, as it should */
	WANT((fd = open(getenv("TELNETCPC_PORT"), O_RDWR | O_NOCTTY)) >= 0);
	WANT(tcgetattr(fd, &t) == 0 && cfgetospeed(&t) == B4800);
}

/* looks: every call that inspects a path finds a port at a mapped one. */
static void looks(const char *path)
{
	struct stat st, direct;
	char text[64], dir[64];
	const char *base = strrchr(path, '/') + 1;
	int at, fd;
	snprintf(dir, sizeof dir, "%.*s", (int)(base - path), path);
	WANT(stat(path, &st) == 0 && S_ISCHR(st.st_mode));
	WANT(lstat(path, &direct) == 0 && direct.st_ino == st.st_ino && direct.st_rdev == st.st_rdev && S_ISCHR(direct.st_mode));
	WANT(access(path, R_OK | W_OK) == 0 && access(path, F_OK) == 0);
	WANT(access(path, X_OK) == -1 && errno == EACCES);
	WANT(readlink(path, text, sizeof text) == -1 && errno == EINVAL);
	WANT((at = open(dir, O_RDONLY | O_DIRECTORY)) >= 0);
	WANT(fstatat(at, base, &direct, 0) == 0 && direct.st_ino == st.st_ino);
	WANT(faccessat(at, base, W_OK, 0) == 0);
	WANT((fd = openat(at, base, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) >= 0);
	WANT(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK);
	WANT(fstat(fd, &direct) == 0 && direct.st_ino == st.st_ino && direct.st_rdev == st.st_rdev);
	WANT(close(fd) == 0);
	WANT(chdir(dir) == 0 && (fd = open(base, O_RDWR | O_NOCTTY)) >= 0);
	WANT(fcntl(fd, F_GETFD) == 0 && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
	snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
	WANT((at = open(text, O_RDWR | O_NOCTTY)) >= 0 && isatty(at));
	WANT(open(path, O_RDWR | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
	WANT(open(path, O_RDONLY | O_DIRECTORY) == -1 && errno == ENOTDIR);
	WANT(stat("/dev/telnetcpc-nothing", &st) == -1 && errno == ENOENT);
	loop(fd, "hello");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*check)(const char *path);
	} checks[] = {
		{"settings", settings}, {"exclusive", exclusive}, {"threads", threads}, {"signals", signals},
		{"storm", storm}, {"orphan", orphan}, {"looks", looks},
		{"survives", survives}, {"terminal", terminal}, {"carrier", carrier},
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
