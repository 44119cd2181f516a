/* The calls that a program makes on a port, other than read and write. */

#include "storm.h"
#include <linux/serial.h>

/* Rates that every host carries exactly. At slow rates programs may write only little, or the
 * storm waits for its own bytes. */
static const unsigned bauds[] = {57600, 115200, 230400, 460800, 921600, 500000, 1000000, 1500000, 2000000, 3000000};
static const unsigned slow_bauds[] = {9600, 19200, 38400, 57600};

/* control is an ioctl that is recorded in the journal. */
static int control(struct hold *h, const char *call, unsigned long request, unsigned long arg, const char *text)
{
	begin(h->open, call, "%d %s", h->fd, text);
	return end(h->open, call, ioctl(h->fd, request, arg));
}

void set_coding(struct hold *h)
{
	static const unsigned sizes[] = {CS5, CS7, CS8, CS8}, bits[] = {5, 7, 8, 8};
	static const unsigned requests[] = {TCSETS2, TCSETSW2, TCSETSF2, TCSETS2};
	struct termios2 t;
	char text[64];
	if (control(h, "getattr", TCGETS2, (unsigned long)&t, "") != 0)
		return;
	unsigned baud = slow ? slow_bauds[draw(4)] : bauds[draw(10)], size = draw(4), parity = draw(3), stop = draw(2);
	t.c_cflag &= ~(CBAUD | CSIZE | PARENB | PARODD | CMSPAR | CSTOPB | CRTSCTS | (CBAUD << IBSHIFT));
	t.c_cflag |= BOTHER | sizes[size] | CREAD | CLOCAL | (parity ? PARENB : 0) | (parity == 1 ? PARODD : 0) | (stop ? CSTOPB : 0);
	t.c_ispeed = t.c_ospeed = baud;
	t.c_iflag &= ~(IXON | IXOFF | ICRNL | INLCR | ISTRIP | BRKINT | PARMRK);
	t.c_lflag &= ~(ICANON | ECHO | ISIG | IEXTEN);
	t.c_oflag &= ~OPOST;
	if (draw(3) == 0)
		t.c_cflag |= CRTSCTS;
	snprintf(text, sizeof text, "%u %u%c%u", baud, bits[size], "NOE"[parity], stop + 1);
	control(h, "setattr", requests[draw(4)], (unsigned long)&t, text);
}

void set_lines(struct hold *h)
{
	static const int lines[] = {TIOCM_RTS, TIOCM_DTR, TIOCM_RTS | TIOCM_DTR};
	int which = draw(3), bits = lines[which];
	static const char *const names[] = {"rts", "dtr", "both"};
	switch (draw(3)) {
	case 0:
		control(h, "bis", TIOCMBIS, (unsigned long)&bits, names[which]);
		break;
	case 1:
		control(h, "bic", TIOCMBIC, (unsigned long)&bits, names[which]);
		break;
	default:
		control(h, "mget", TIOCMGET, (unsigned long)&bits, "");
	}
}

/* wait_for_line waits until DSR or RI changes or a signal arrives. */
void wait_for_line(struct hold *h)
{
	alarm_in(50000 + draw(200) * 1000, 0);
	control(h, "miwait", TIOCMIWAIT, TIOCM_DSR | TIOCM_RI, "");
	alarm_in(0, 0);
}

void other_call(struct hold *h)
{
	struct serial_icounter_struct count;
	int bits, restart;
	switch (draw(11)) {
	case 0:
		control(h, "flush", TCFLSH, TCIFLUSH, "in");
		break;
	case 1:
		control(h, "drain", TCSBRK, 1, "");
		break;
	case 2: /* a signal may end this drain */
		restart = draw(2);
		alarm_in(20000 + draw(100) * 1000, restart);
		control(h, "drain", TCSBRK, 1, "signal");
		alarm_in(0, 0);
		break;
	case 3:
		control(h, "break", TCSBRK, 0, "");
		break;
	case 4:
		control(h, "break", TIOCSBRK, 0, "");
		nap(1000);
		control(h, "breakoff", TIOCCBRK, 0, "");
		break;
	case 5:
		control(h, "icount", TIOCGICOUNT, (unsigned long)&count, "");
		break;
	case 6:
		control(h, "outq", TIOCOUTQ, (unsigned long)&bits, "");
		break;
	case 7:
		control(h, "inq", FIONREAD, (unsigned long)&bits, "");
		break;
	case 8:
		control(h, "excl", TIOCEXCL, 0, "");
		nap(draw(3000));
		control(h, "nxcl", TIOCNXCL, 0, "");
		break;
	case 9:
		wait_for_line(h);
		break;
	default: /* signals interrupt the calls, with or without SA_RESTART */
		alarm_storm(1, draw(2));
		for (int i = draw(20); i > 0; i--)
			switch (draw(3)) {
			case 0:
				set_lines(h);
				break;
			case 1:
				write_record(h, draw(60));
				break;
			default:
				set_coding(h);
			}
		alarm_storm(0, 0);
	}
}

/* churn makes more changes than any queue may hold. */
void churn(struct hold *h, int purges)
{
	for (int i = 20 + draw(200); i > 0; i--) {
		int purge = purges && draw(30) == 0;
		set_coding(h);
		control(h, "flush", TCFLSH, purge ? TCIOFLUSH : TCIFLUSH, purge ? "both" : "in");
	}
}
