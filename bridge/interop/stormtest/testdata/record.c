/* Programs write records; the device replies with echoes.
 *
 *	[OPEN.SEQ.PAYLOAD:aaaa...#CRC]\n     hexadecimal, 8, 6, 4 and 8 digits; the CRC covers all before the #
 *	<OPEN.SEQ>                           an echo */

#include "storm.h"

static uint32_t crc(const char *p, int n) /* CRC-32, IEEE */
{
	uint32_t c = ~0u;
	for (int i = 0; i < n; i++) {
		c ^= (unsigned char)p[i];
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (0xedb88320u & -(c & 1));
	}
	return ~c;
}

/* A record is one write. If a signal or a full port cuts it short, the rest is not written: the journal has the length. */
void write_record(struct hold *h, unsigned payload)
{
	char text[5000];
	unsigned seq = ++h->seq;
	int n = snprintf(text, sizeof text, "[%08x.%06x.%04x:", h->open, seq, payload);
	for (unsigned i = 0; i < payload; i++)
		text[n++] = 'a' + (seq + i) % 26;
	n += snprintf(text + n, sizeof text - n, "#%08x]\n", crc(text, n));
	begin(h->open, "write", "%d %u %d", h->fd, seq, n);
	end(h->open, "write", write(h->fd, text, n));
}

static int is_echo(const char *p)
{
	if (p[0] != '<' || p[9] != '.' || p[16] != '>')
		return 0;
	for (int i = 1; i < 16; i++)
		if (i != 9 && !strchr("0123456789abcdef", p[i]))
			return 0;
	return 1;
}

/* read_echoes reads once, if bytes arrive in time, and records the whole echoes. */
void read_echoes(struct hold *h, int wait_ms)
{
	enum { size = 17 };
	struct pollfd p = {h->fd, POLLIN, 0};
	char text[2048 + sizeof h->ahead];
	begin(h->open, "poll", "%d %d", h->fd, wait_ms);
	if (end(h->open, "poll", poll(&p, 1, wait_ms)) <= 0 || !(p.revents & (POLLIN | POLLHUP)))
		return;
	memcpy(text, h->ahead, h->have);
	/* Another reader may have taken the bytes: if the read blocks, the alarm ends it. */
	alarm_in(200000, 0);
	begin(h->open, "read", "%d", h->fd);
	long n = end(h->open, "read", read(h->fd, text + h->have, 2048));
	alarm_in(0, 0);
	if (n <= 0)
		return;
	n += h->have;
	long at = 0;
	for (; at + size <= n; at++)
		if (is_echo(text + at))
			note('R', "%x %.8s %.6s", h->open, text + at + 1, text + at + 10);
	h->have = n - at;
	memcpy(h->ahead, text + at, h->have);
}
