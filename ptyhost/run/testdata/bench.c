/* Uses a serial port as fast as it can: bench PATH trip|up|down|ioctl|open COUNT FILE. It writes to FILE how many nanoseconds
 * it took: the median of round trips of one byte, of ioctls and of opens, the mean of 4096 bytes written or read. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	long long d = *(const long long *)a - *(const long long *)b;
	return d < 0 ? -1 : d > 0;
}

int main(int argc, char **argv)
{
	static char buf[4096];
	long long *took, began;
	struct termios t;
	FILE *out;
	int fd, again, i, n, bits;
	if (argc != 5 || (fd = open(argv[1], O_RDWR | O_NOCTTY)) < 0 || tcgetattr(fd, &t) != 0)
		return 1;
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSANOW, &t) != 0)
		return 1;
	n = atoi(argv[3]);
	took = calloc(n, sizeof *took);
	began = now();
	for (i = 0; i < n; i++) {
		long long start;
		size_t done;
		again = -1;
		start = now();
		ssize_t m;
		switch (argv[2][0]) {
		case 't':
			if (write(fd, "x", 1) != 1 || read(fd, buf, 1) != 1)
				return 1;
			break;
		case 'u':
			for (done = 0; done < sizeof buf; done += m)
				if ((m = write(fd, buf + done, sizeof buf - done)) <= 0)
					return 1;
			break;
		case 'd':
			for (done = 0; done < sizeof buf; done += m)
				if ((m = read(fd, buf, sizeof buf - done)) <= 0)
					return 1;
			break;
		case 'i':
			if (ioctl(fd, TIOCMGET, &bits) != 0)
				return 1;
			break;
		case 'o':
			if ((again = open(argv[1], O_RDWR | O_NOCTTY)) <= fd)
				return 1;
		}
		took[i] = now() - start;
		if (again >= 0)
			close(again);
	}
	if (argv[2][0] == 'u' || argv[2][0] == 'd') { /* a median is meaningless for a stream */
		took[n / 2] = (now() - began) / n;
	} else {
		qsort(took, n, sizeof *took, compare);
	}
	out = fopen(argv[4], "w");
	return out == NULL || fprintf(out, "%lld\n", took[n / 2]) < 0 || fclose(out) != 0;
}
