/* WANT ends the program at once, and prints the line, if something is not as it must be. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WANT(what) \
	do { \
		if (!(what)) { \
			printf("line %d: not %s (%s)\n", __LINE__, #what, strerror(errno)); \
			fflush(stdout); \
			_exit(1); \
		} \
	} while (0)
