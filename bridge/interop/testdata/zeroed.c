/* A program that fills in struct termios from zero, as many old ones do: it clears every flag that it does not set.
 * It obeys "baud N", "write TEXT" and "sum COUNT" on its standard input. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static speed_t speed(long n)
{
	switch (n) {
	case 1200: return B1200;
	case 4800: return B4800;
	case 9600: return B9600;
	case 19200: return B19200;
	case 115200: return B115200;
	}
	fprintf(stderr, "no such speed: %ld\n", n);
	exit(1);
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	char order[256];
	int fd;

	if (argc != 2 || (fd = open(argv[1], O_RDWR | O_NOCTTY)) < 0)
		fail("open");
	while (fgets(order, sizeof order, stdin)) {
		order[strcspn(order, "\n")] = 0;
		if (!strncmp(order, "baud ", 5)) {
			struct termios t;

			memset(&t, 0, sizeof t);
			t.c_cflag = CS8 | CREAD | CLOCAL;
			t.c_cc[VMIN] = 1;
			if (cfsetispeed(&t, speed(atol(order + 5))) || cfsetospeed(&t, speed(atol(order + 5))))
				fail("cfsetspeed");
			if (tcsetattr(fd, TCSANOW, &t))
				fail("tcsetattr");
			puts("done");
		} else if (!strncmp(order, "write ", 6)) {
			size_t n = strlen(order + 6);

			if (write(fd, order + 6, n) != (ssize_t)n)
				fail("write");
			puts("done");
		} else if (!strncmp(order, "sum ", 4)) {
			long left = atol(order + 4), sum = 0;
			unsigned char buf[512];

			while (left > 0) {
				ssize_t n = read(fd, buf, sizeof buf);

				if (n <= 0)
					fail("read");
				for (ssize_t i = 0; i < n; i++)
					sum += buf[i];
				left -= n;
			}
			printf("%ld\n", sum);
		}
		fflush(stdout);
	}
	return 0;
}
