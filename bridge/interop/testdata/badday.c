/* A program that uses the port in its argument. Each line of its input is an order, and it replies to each with a line, "done"
 * unless noted here. Times are in nanoseconds.
 *
 *	open, close
 *	baud N         raw mode, by TCSANOW
 *	write TEXT
 *	fill N         write N bytes
 *	drain          reply: when tcdrain returned, on CLOCK_MONOTONIC
 *	until C        read up to C; reply: how many bytes came before it
 *	outq           reply: TIOCOUTQ
 *	pauses N       N times: a byte, 20 ms, tcdrain; reply: the medians of tcdrain and TIOCMGET
 *	frames N       N DMX frames at 250000 8N2; reply: the time
 *	bare N         only the pauses of N frames; reply: the time
 *	end N          exit with status N */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int until(char end)
{
	long n = 0;
	char c;

	for (;;) {
		if (read(fd, &c, 1) != 1)
			return -1;
		if (c == end)
			break;
		n++;
	}
	printf("%ld\n", n);
	return 0;
}

static int outq(void)
{
	int n;

	if (ioctl(fd, TIOCOUTQ, &n))
		return -1;
	printf("%d\n", n);
	return 0;
}

static int later(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

static int pauses(int n)
{
	long long drains[200], asks[200], t;
	int i, lines;

	for (i = 0; i < n && i < 200; i++) {
		if (all("x", 1))
			return -1;
		usleep(20000);
		t = now();
		if (tcdrain(fd))
			return -1;
		drains[i] = now() - t;
		t = now();
		if (ioctl(fd, TIOCMGET, &lines))
			return -1;
		asks[i] = now() - t;
	}
	qsort(drains, i, sizeof *drains, later);
	qsort(asks, i, sizeof *asks, later);
	printf("%lld %lld\n", drains[i / 2], asks[i / 2]);
	return 0;
}

/* termios.h has no rate 250000. This is struct termios2 of asm/termbits.h, which cannot be included together with it. */
struct anyrate {
	unsigned int iflag, oflag, cflag, lflag;
	unsigned char line, cc[19];
	unsigned int ispeed, ospeed;
};

static int frames(int n, int bare)
{
	struct anyrate r = { .cflag = CS8 | CSTOPB | CREAD | CLOCAL | 0010000, .ispeed = 250000, .ospeed = 250000 };
	char frame[513];
	long long t;

	if (ioctl(fd, _IOW('T', 0x2b, struct anyrate), &r))
		return -1;
	memset(frame, 'U', sizeof frame);
	for (t = now(); n > 0; n--) {
		if (!bare && ioctl(fd, TIOCSBRK))
			return -1;
		usleep(100);
		if (!bare && ioctl(fd, TIOCCBRK))
			return -1;
		usleep(12);
		if (!bare && all(frame, sizeof frame))
			return -1;
		usleep(24300); /* 40 frames per second; one takes 22.6 ms on the line */
	}
	printf("%lld\n", now() - t);
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
		else if (!strcmp(order, "until"))
			said = !(failed = until(*argument));
		else if (!strcmp(order, "outq"))
			said = !(failed = outq());
		else if (!strcmp(order, "pauses"))
			said = !(failed = pauses(atoi(argument)));
		else if (!strcmp(order, "frames") || !strcmp(order, "bare"))
			said = !(failed = frames(atoi(argument), *order == 'b'));
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
