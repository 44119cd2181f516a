/* Strangers are terminals of other programs: ptys that come and go all the time and take every free number. No program
 * writes to them or sets them, so any byte that they receive, and any change of their termios, comes from a program or
 * agent that mistook one for the port. SIGUSR1 makes them come and go faster. */

#include "storm.h"

enum { terminals = 6 };

static struct stranger {
	int master, slave, index;
	struct termios2 as;
} all[terminals];

static volatile int hurry;

static void hurries(int signal)
{
	(void)signal;
	hurry = 1;
}

static int make(struct stranger *s)
{
	int zero = 0;
	s->master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (s->master < 0)
		return -1;
	if (ioctl(s->master, TIOCSPTLCK, &zero) != 0 || ioctl(s->master, TIOCGPTN, &s->index) != 0 ||
	    (s->slave = ioctl(s->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 ||
	    ioctl(s->slave, TCGETS2, &s->as) != 0) {
		close(s->master);
		s->master = -1;
		return -1;
	}
	s->as.c_iflag = s->as.c_oflag = s->as.c_lflag = 0;
	ioctl(s->slave, TCSETS2, &s->as);
	ioctl(s->slave, TCGETS2, &s->as);
	return 0;
}

/* check reports bytes and changes of termios. */
static void check(struct stranger *s)
{
	char text[64];
	struct termios2 is;
	if (s->master < 0)
		return;
	ssize_t n = read(s->master, text, sizeof text - 1);
	if (n > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (text[i] < ' ' || text[i] > '~')
				text[i] = '?';
		text[n] = 0;
		note('X', "stranger /dev/pts/%d received %s", s->index, text);
	}
	if (ioctl(s->slave, TCGETS2, &is) == 0 && memcmp(&is, &s->as, sizeof is) != 0) {
		note('X', "stranger /dev/pts/%d has a changed termios", s->index);
		s->as = is;
	}
}

int strangers(void)
{
	unsigned turn = 0;
	prctl(PR_SET_NAME, "storm-strangers");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGUSR1, hurries);
	for (int i = 0; i < terminals; i++)
		all[i].master = -1;
	for (;; turn++) {
		struct stranger *s = &all[turn % terminals];
		if (s->master >= 0) {
			check(s);
			close(s->slave);
			check(s); /* a program that has it open may write until now */
			close(s->master);
			s->master = -1;
		}
		if (make(s) != 0)
			nap(1000);
		for (int i = 0; i < terminals; i++)
			check(&all[i]);
		if (turn % 256 == 0)
			note('T', "turns %u", turn);
		nap(hurry ? 200 : 3000);
	}
}
