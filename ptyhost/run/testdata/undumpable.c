/* A program that cannot be inspected, like those that keep keys. Its port is an ordinary pty. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <termios.h>

int main(void)
{
	struct termios t;
	int fd, bits;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 1;
	fd = open(getenv("TELNETCPC_PORT"), O_RDWR | O_NOCTTY);
	if (fd < 0 || tcgetattr(fd, &t) != 0)
		return 2;
	if (ioctl(fd, TIOCMGET, &bits) != -1 || errno != ENOTTY)
		return 3;
	printf("ok\n");
	return 0;
}
