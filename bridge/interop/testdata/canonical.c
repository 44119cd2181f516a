/* A program that reads lines, as from a terminal: with ICANON and ICRNL. It prints "ready", waits for "go", and then prints what
 * each read() returns, which must be one line. "speed N" sets 2400 without leaving canonical mode. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void set(int fd, speed_t speed)
{
	struct termios t;

	if (tcgetattr(fd, &t))
		fail("tcgetattr");
	t.c_lflag = ICANON;
	t.c_iflag = ICRNL;
	t.c_oflag = 0;
	t.c_cc[VEOF] = 4;
	t.c_cc[VEOL] = t.c_cc[VEOL2] = 0;
	cfsetispeed(&t, speed);
	cfsetospeed(&t, speed);
	if (tcsetattr(fd, TCSANOW, &t))
		fail("tcsetattr");
}

int main(int argc, char **argv)
{
	char order[64], buf[4096];
	struct pollfd both[2];
	int fd, reading = 0;

	if (argc != 2 || (fd = open(argv[1], O_RDWR | O_NOCTTY)) < 0)
		fail("open");
	set(fd, B38400);
	puts("ready");
	fflush(stdout);
	both[0].fd = 0;
	both[0].events = both[1].events = POLLIN;
	for (;;) {
		both[1].fd = reading ? fd : -1;
		if (poll(both, 2, -1) < 0)
			fail("poll");
		if (both[0].revents) {
			ssize_t n = read(0, order, sizeof order - 1);

			if (n <= 0)
				return 0;
			order[n] = 0;
			if (!strncmp(order, "go", 2)) {
				reading = 1;
			} else {
				set(fd, B2400);
				puts("done");
			}
		} else if (reading && both[1].revents) {
			ssize_t n = read(fd, buf, sizeof buf);

			if (n <= 0)
				fail("read");
			fwrite(buf, 1, n, stdout);
		}
		fflush(stdout);
	}
}
