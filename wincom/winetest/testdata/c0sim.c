/*
 * c0sim.sys: a stand-in for com0com's driver, for tests in Wine only. It makes pairs of ports that answer as the driver
 * was measured to answer (its extension of IOCTL_SERIAL_LSRMST_INSERT, pins, break, timeouts, masking of bytes to the
 * smaller word length), and shares no line with it. Never load it on a real Windows.
 *
 * Pairs are those of the registry, in the words of com0com's own parameters: HKLM\...\Services\NAME\Parameters\CNCA0 and
 * CNCB0, CNCA1 and so on, with PortName, cts, dsr, dcd, ri and HiddenMode. Without any it makes one: COM9 and CNCB0, with
 * dcd=rout1,ri=!rout2 and dcd=ropen.
 *
 * It does not know: EmuBR, EmuOverrun, EmuNoise, PlugInMode, ExclusiveMode, AllDataBits; flow control of any kind and
 * handshake modes of RTS and DTR; the 14 bytes that the real one takes while its other end is closed; statistics. Wine
 * lets a second program open a port that is open: here every call of it fails.
 */
#include <ntddk.h>
#include <ntddser.h>

#define PAIRS 6         /* at most */
#define NUMBERS 10      /* of pairs: 0 to 9 */
#define QUEUE 4096      /* of a port that was just opened */
#define MEMORY (1 << 19) /* the most that SetupComm can ask for, and a little */
#define NAME 16         /* of a port, with its NUL */

/* Bits of MCR. Pins are bits of another order: what the peer drives, and <<8 what the port itself drives. */
#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_OPEN 0x80
#define PIN_RRTS 0x01
#define PIN_RDTR 0x02
#define PIN_ROUT1 0x04
#define PIN_ROUT2 0x08
#define PIN_ROPEN 0x80
#define PIN_ON 0x10000000
#define PIN_NOT 0x80000000

#define HIDDEN_SERIALCOMM 4

/* Options of the extension. */
#define OPT_LSR 0x001
#define OPT_MST 0x002
#define OPT_RBR 0x100
#define OPT_RLC 0x200
#define OPT_BREAK 0x400
#define OPT_ALL 0x703
#define OPT_GET 0x01000000
#define OPT_RXCLEAR 0x02000000
#define OPT_CAPS 0xffffffff

/* Codes of records. */
#define REC_LSR_CHAR 1
#define REC_LSR 2
#define REC_MSR 3
#define REC_BAUD 16
#define REC_LINE 17

enum { CTS, DSR, DCD, RI, LINES };

static const UCHAR msr_bit[LINES] = { 0x10, 0x20, 0x80, 0x40 };
static const ULONG event_bit[LINES] = { SERIAL_EV_CTS, SERIAL_EV_DSR, SERIAL_EV_RLSD, SERIAL_EV_RING };
static const WCHAR *const pin_name[LINES] = { L"cts", L"dsr", L"dcd", L"ri" };

typedef struct port {
	struct port *peer;
	PDEVICE_OBJECT dev;
	PFILE_OBJECT owner; /* who has it open */
	WCHAR name[NAME];
	WCHAR device[32], link[32];
	UNICODE_STRING link_string;
	ULONG hidden;

	ULONG baud;
	SERIAL_LINE_CONTROL line;
	SERIAL_HANDFLOW flow;
	SERIAL_CHARS chars;
	SERIAL_TIMEOUTS timeouts;

	ULONG pin[LINES]; /* in PIN_ bits */
	UCHAR mcr, msr;
	BOOLEAN breaks;
	ULONG wait_mask, events, errors;
	UCHAR escape; /* 0: nothing is inserted */
	ULONG options;

	UCHAR *buf; /* a ring of MEMORY bytes; size is how many the port may hold */
	ULONG size, head, count;

	LIST_ENTRY reads, writes, waits;
	KTIMER timer; /* of the first read */
	KDPC timed_out;
} port;

static port ports[2 * PAIRS];
static UCHAR memory[2 * PAIRS][MEMORY];
static int port_count;
static KSPIN_LOCK lock; /* over all of it; requests are completed outside, from a list */

/* ---- requests ---- */

static void complete_later(PIRP irp, NTSTATUS status, ULONG_PTR n, PLIST_ENTRY done)
{
	irp->IoStatus.Status = status;
	irp->IoStatus.Information = n;
	InsertTailList(done, &irp->Tail.Overlay.ListEntry);
}

static void complete_all(PLIST_ENTRY done)
{
	while (!IsListEmpty(done)) {
		PLIST_ENTRY e = RemoveHeadList(done);
		IoCompleteRequest(CONTAINING_RECORD(e, IRP, Tail.Overlay.ListEntry), IO_SERIAL_INCREMENT);
	}
}

/* first is the request at the head of a list, unless it is being cancelled. */
static PIRP first(PLIST_ENTRY list)
{
	PIRP irp;

	if (IsListEmpty(list))
		return NULL;
	irp = CONTAINING_RECORD(list->Flink, IRP, Tail.Overlay.ListEntry);
	return irp->Cancel ? NULL : irp;
}

/* take removes a request from its list; not one that is being cancelled. */
static BOOLEAN take(PIRP irp)
{
	if (!IoSetCancelRoutine(irp, NULL))
		return FALSE;
	RemoveEntryList(&irp->Tail.Overlay.ListEntry);
	return TRUE;
}

static VOID NTAPI on_cancel(PDEVICE_OBJECT dev, PIRP irp)
{
	KIRQL irql;

	IoReleaseCancelSpinLock(irp->CancelIrql);
	KeAcquireSpinLock(&lock, &irql);
	RemoveEntryList(&irp->Tail.Overlay.ListEntry);
	KeReleaseSpinLock(&lock, irql);
	irp->IoStatus.Status = STATUS_CANCELLED;
	irp->IoStatus.Information = 0;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
}

/* pend appends a request to a list. Where it is cancelled already it completes it and returns FALSE. */
static BOOLEAN pend(PIRP irp, PLIST_ENTRY list, PLIST_ENTRY done)
{
	IoMarkIrpPending(irp);
	InsertTailList(list, &irp->Tail.Overlay.ListEntry);
	IoSetCancelRoutine(irp, on_cancel);
	if (irp->Cancel && IoSetCancelRoutine(irp, NULL)) {
		RemoveEntryList(&irp->Tail.Overlay.ListEntry);
		complete_later(irp, STATUS_CANCELLED, 0, done);
		return FALSE;
	}
	return TRUE;
}

static void cancel_all(PLIST_ENTRY list, PLIST_ENTRY done)
{
	PIRP irp;

	while ((irp = first(list)) && take(irp))
		complete_later(irp, STATUS_CANCELLED, 0, done);
}

/* ---- bytes, records and events ---- */

static void put(port *p, UCHAR c)
{
	/* What is inserted may exceed the port's size a little. */
	if (p->count < p->size + 64 && p->count < MEMORY)
		p->buf[(p->head + p->count++) % MEMORY] = c;
}

static UCHAR get(port *p)
{
	UCHAR c = p->buf[p->head];

	p->head = (p->head + 1) % MEMORY;
	p->count--;
	return c;
}

static void event(port *p, ULONG bits, PLIST_ENTRY done)
{
	PIRP irp;

	p->events |= bits & p->wait_mask;
	if (p->events && (irp = first(&p->waits)) && take(irp)) {
		*(ULONG *)irp->AssociatedIrp.SystemBuffer = p->events;
		p->events = 0;
		complete_later(irp, STATUS_SUCCESS, sizeof(ULONG), done);
	}
}

/* pump_reads gives the buffer to those who read. With an interval timeout of any length one byte is enough. */
static void pump_reads(port *p, PLIST_ENTRY done)
{
	PIRP irp;

	while (p->count && (irp = first(&p->reads))) {
		ULONG want = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;
		ULONG have = (ULONG)irp->IoStatus.Information;
		UCHAR *b = irp->AssociatedIrp.SystemBuffer;

		while (have < want && p->count)
			b[have++] = get(p);
		irp->IoStatus.Information = have;
		if ((have < want && !p->timeouts.ReadIntervalTimeout) || !take(irp))
			break;
		KeCancelTimer(&p->timer);
		complete_later(irp, STATUS_SUCCESS, have, done);
	}
}

/* width is what is left of a byte between a port and its peer: the smaller word length counts. */
static UCHAR width(port *p)
{
	UCHAR a = p->line.WordLength, b = p->peer->line.WordLength;

	return 0xff >> (8 - (a < b ? a : b));
}

/* pump_writes takes from those who write as much as the peer has room for; none while the port breaks. */
static void pump_writes(port *p, PLIST_ENTRY done)
{
	port *to = p->peer;
	PIRP irp;

	while (!p->breaks && (irp = first(&p->writes))) {
		ULONG size = IoGetCurrentIrpStackLocation(irp)->Parameters.Write.Length;
		ULONG at = (ULONG)irp->IoStatus.Information, before = at;
		UCHAR *b = irp->AssociatedIrp.SystemBuffer;

		while (at < size && to->owner && to->count < to->size) {
			UCHAR c = b[at++] & width(p);
			put(to, c);
			if (to->escape && c == to->escape)
				put(to, 0);
		}
		irp->IoStatus.Information = at;
		if (at > before) {
			pump_reads(to, done);
			event(to, SERIAL_EV_RXCHAR, done);
		}
		if (at < size) {
			if (to->owner && to->count < to->size)
				continue; /* the peer read meanwhile */
			return;
		}
		if (!take(irp))
			return;
		complete_later(irp, STATUS_SUCCESS, size, done);
		event(p, SERIAL_EV_TXEMPTY, done);
	}
}

static void record(port *p, const UCHAR *b, ULONG n, PLIST_ENTRY done)
{
	ULONG i;

	put(p, p->escape);
	for (i = 0; i < n; i++)
		put(p, b[i]);
	pump_reads(p, done);
}

static BOOLEAN wants(port *p, ULONG options) { return p->escape && (p->options & options); }

/* ---- lines ---- */

/* driven is what a port drives, in the order of pins. */
static ULONG driven(port *p)
{
	return (p->mcr & MCR_RTS ? PIN_RRTS : 0) | (p->mcr & MCR_DTR ? PIN_RDTR : 0) | (p->mcr & ~(MCR_RTS | MCR_DTR));
}

static BOOLEAN level(port *p, ULONG pin)
{
	BOOLEAN on = (pin & PIN_ON) || (pin & (driven(p->peer) | driven(p) << 8));

	return (pin & PIN_NOT) ? !on : on;
}

static void refresh_msr(port *p, PLIST_ENTRY done)
{
	UCHAR now = 0, changed;
	ULONG events = 0;
	int i;

	for (i = 0; i < LINES; i++)
		if (level(p, p->pin[i]))
			now |= msr_bit[i];
	changed = now ^ p->msr;
	if (!changed)
		return;
	p->msr = now;
	if (wants(p, OPT_MST)) {
		UCHAR r[] = { REC_MSR, now | changed >> 4 };
		record(p, r, sizeof r, done);
	}
	for (i = 0; i < LINES; i++)
		if (changed & msr_bit[i])
			events |= event_bit[i];
	event(p, events, done);
}

static void set_mcr(port *p, UCHAR value, UCHAR mask, PLIST_ENTRY done)
{
	UCHAR before = p->mcr;

	p->mcr = (before & ~mask) | (value & mask);
	if (p->mcr == before)
		return;
	refresh_msr(p->peer, done);
	refresh_msr(p, done);
}

/* set_lines raises or lowers DTR and RTS as their control modes say. */
static void set_lines(port *p, PLIST_ENTRY done)
{
	UCHAR lines = 0;

	if (p->flow.ControlHandShake & SERIAL_DTR_MASK)
		lines |= MCR_DTR;
	if (p->flow.FlowReplace & SERIAL_RTS_MASK)
		lines |= MCR_RTS;
	set_mcr(p, lines, MCR_DTR | MCR_RTS, done);
}

static void set_break(port *p, BOOLEAN on, PLIST_ENTRY done)
{
	port *to = p->peer;

	if (on == p->breaks)
		return;
	p->breaks = on;
	if (to->owner && on) {
		UCHAR r[] = { REC_LSR_CHAR, 0xf9, 0 };

		to->errors |= SERIAL_ERROR_BREAK;
		if (wants(to, OPT_LSR | OPT_BREAK)) {
			record(to, r, sizeof r, done);
		} else {
			put(to, 0);
			pump_reads(to, done);
		}
		event(to, SERIAL_EV_BREAK | SERIAL_EV_ERR, done);
	} else if (to->owner && wants(to, OPT_BREAK)) {
		UCHAR r[] = { REC_LSR, 0x60 };
		record(to, r, sizeof r, done);
	}
	if (!on)
		pump_writes(p, done);
}

/* ---- open, close, read ---- */

static void on_open(port *p, PFILE_OBJECT file, PLIST_ENTRY done)
{
	p->owner = file;
	p->size = QUEUE;
	p->head = p->count = 0;
	p->wait_mask = p->events = p->errors = 0;
	set_lines(p, done);
	set_mcr(p, MCR_OPEN, MCR_OPEN, done);
	pump_writes(p->peer, done);
}

static void on_close(port *p, PLIST_ENTRY done)
{
	p->owner = NULL;
	p->escape = 0;
	p->count = 0;
	set_mcr(p, MCR_OUT2, 0xff, done);
	set_break(p, FALSE, done);
}

static void on_cleanup(port *p, PLIST_ENTRY done)
{
	cancel_all(&p->reads, done);
	cancel_all(&p->writes, done);
	cancel_all(&p->waits, done);
	KeCancelTimer(&p->timer);
}

/* patience is how long a read may take, in milliseconds; -1: for ever. */
static LONGLONG patience(const SERIAL_TIMEOUTS *t, ULONG length)
{
	if (t->ReadIntervalTimeout == MAXULONG && !t->ReadTotalTimeoutMultiplier && !t->ReadTotalTimeoutConstant)
		return 0;
	if (t->ReadIntervalTimeout == MAXULONG && t->ReadTotalTimeoutMultiplier == MAXULONG)
		return t->ReadTotalTimeoutConstant == MAXULONG ? -1 : (LONGLONG)t->ReadTotalTimeoutConstant;
	if (t->ReadTotalTimeoutMultiplier || t->ReadTotalTimeoutConstant)
		return (LONGLONG)t->ReadTotalTimeoutMultiplier * length + t->ReadTotalTimeoutConstant;
	return -1;
}

static void on_read(port *p, PIRP irp, ULONG length, PLIST_ENTRY done)
{
	LONGLONG ms = patience(&p->timeouts, length);

	irp->IoStatus.Information = 0;
	if (!pend(irp, &p->reads, done))
		return;
	pump_reads(p, done);
	if (first(&p->reads) == irp) {
		if (ms == 0 && take(irp)) {
			complete_later(irp, STATUS_SUCCESS, irp->IoStatus.Information, done);
		} else if (ms > 0) {
			LARGE_INTEGER due;
			due.QuadPart = -ms * 10000;
			KeSetTimer(&p->timer, due, &p->timed_out);
		}
	}
	pump_writes(p->peer, done);
}

static VOID NTAPI on_timeout(PKDPC dpc, PVOID context, PVOID a, PVOID b)
{
	port *p = context;
	LIST_ENTRY done;
	KIRQL irql;
	PIRP irp;

	InitializeListHead(&done);
	KeAcquireSpinLock(&lock, &irql);
	if ((irp = first(&p->reads)) && take(irp))
		complete_later(irp, STATUS_TIMEOUT, irp->IoStatus.Information, &done);
	KeReleaseSpinLock(&lock, irql);
	complete_all(&done);
}

/* ---- ioctl ---- */

/* call is one ioctl: input and output share the buffer. */
typedef struct call {
	UCHAR *buf;
	ULONG in, out; /* sizes of the buffer */
	ULONG n;       /* of the answer */
} call;

static NTSTATUS answer(call *c, const void *value, ULONG n)
{
	if (c->out < n)
		return STATUS_BUFFER_TOO_SMALL;
	RtlCopyMemory(c->buf, value, n);
	c->n = n;
	return STATUS_SUCCESS;
}

static NTSTATUS answer_word(call *c, ULONG word) { return answer(c, &word, sizeof word); }

static NTSTATUS input(call *c, void *value, ULONG n)
{
	if (c->in < n)
		return STATUS_BUFFER_TOO_SMALL;
	RtlCopyMemory(value, c->buf, n);
	return STATUS_SUCCESS;
}

static NTSTATUS set_baud(port *p, call *c, PLIST_ENTRY done)
{
	ULONG baud;
	NTSTATUS status = input(c, &baud, sizeof baud);

	if (status || baud == p->baud)
		return status;
	p->baud = baud;
	if (wants(p->peer, OPT_RBR)) {
		UCHAR r[5] = { REC_BAUD };
		RtlCopyMemory(r + 1, &baud, sizeof baud);
		record(p->peer, r, sizeof r, done);
	}
	return STATUS_SUCCESS;
}

static NTSTATUS set_line(port *p, call *c, PLIST_ENTRY done)
{
	SERIAL_LINE_CONTROL l;
	NTSTATUS status = input(c, &l, sizeof l);

	if (status)
		return status;
	if (l.WordLength < 5 || l.WordLength > 8 || l.Parity > SPACE_PARITY || l.StopBits > STOP_BITS_2)
		return STATUS_INVALID_PARAMETER;
	if (RtlCompareMemory(&l, &p->line, sizeof l) == sizeof l)
		return STATUS_SUCCESS;
	p->line = l;
	if (wants(p->peer, OPT_RLC)) {
		UCHAR r[] = { REC_LINE, l.WordLength, l.Parity, l.StopBits };
		record(p->peer, r, sizeof r, done);
	}
	return STATUS_SUCCESS;
}

static NTSTATUS set_handflow(port *p, call *c, PLIST_ENTRY done)
{
	SERIAL_HANDFLOW h;
	NTSTATUS status = input(c, &h, sizeof h);

	if (status)
		return status;
	if (p->escape && (h.FlowReplace & SERIAL_ERROR_CHAR))
		return STATUS_INVALID_PARAMETER;
	p->flow = h;
	set_lines(p, done);
	return STATUS_SUCCESS;
}

static NTSTATUS set_queue(port *p, call *c, PLIST_ENTRY done)
{
	SERIAL_QUEUE_SIZE q;
	NTSTATUS status = input(c, &q, sizeof q);

	if (!status && q.InSize > p->size && q.InSize <= MEMORY - 64)
		p->size = q.InSize;
	pump_writes(p->peer, done);
	return status;
}

static NTSTATUS set_wait_mask(port *p, call *c, PLIST_ENTRY done)
{
	PIRP irp;
	NTSTATUS status = input(c, &p->wait_mask, sizeof p->wait_mask);

	p->events &= p->wait_mask;
	while ((irp = first(&p->waits)) && take(irp)) {
		*(ULONG *)irp->AssociatedIrp.SystemBuffer = 0;
		complete_later(irp, STATUS_SUCCESS, sizeof(ULONG), done);
	}
	return status;
}

static NTSTATUS wait_on_mask(port *p, PIRP irp, call *c, PLIST_ENTRY done)
{
	ULONG events = p->events;

	if (c->out < sizeof events)
		return STATUS_BUFFER_TOO_SMALL;
	if (!p->wait_mask || !IsListEmpty(&p->waits))
		return STATUS_INVALID_PARAMETER;
	if (!events) {
		pend(irp, &p->waits, done);
		return STATUS_PENDING;
	}
	p->events = 0;
	return answer_word(c, events);
}

static BOOLEAN signed_c0ce(const UCHAR *b) { return b[0] == 'c' && b[1] == '0' && b[2] == 'c' && !b[3]; }

static NTSTATUS set_modem_control(port *p, call *c, PLIST_ENTRY done)
{
	UCHAR mask = 0x7f;

	if (c->in < sizeof(ULONG))
		return STATUS_BUFFER_TOO_SMALL;
	if (c->in >= 12 && signed_c0ce(c->buf + 8))
		mask &= c->buf[4];
	set_mcr(p, c->buf[0], mask, done);
	return STATUS_SUCCESS;
}

static NTSTATUS purge(port *p, call *c, PLIST_ENTRY done)
{
	ULONG what;
	NTSTATUS status = input(c, &what, sizeof what);

	if (status)
		return status;
	if (what & SERIAL_PURGE_RXABORT)
		cancel_all(&p->reads, done);
	if (what & SERIAL_PURGE_TXABORT)
		cancel_all(&p->writes, done);
	if (what & SERIAL_PURGE_RXCLEAR) {
		p->count = 0;
		pump_writes(p->peer, done);
	}
	return STATUS_SUCCESS;
}

static NTSTATUS get_status(port *p, call *c)
{
	SERIAL_STATUS s;

	RtlZeroMemory(&s, sizeof s);
	s.AmountInInQueue = p->count;
	s.Errors = p->errors;
	p->errors = 0;
	return answer(c, &s, sizeof s);
}

static NTSTATUS get_properties(port *p, call *c)
{
	SERIAL_COMMPROP s;

	RtlZeroMemory(&s, sizeof s);
	s.PacketLength = sizeof s;
	s.PacketVersion = 2;
	s.ServiceMask = SERIAL_SP_SERIALCOMM;
	s.MaxBaud = SERIAL_BAUD_USER;
	s.ProvSubType = SERIAL_SP_RS232;
	s.ProvCapabilities = 0xff;
	s.SettableParams = 0x7f;
	s.SettableBaud = 0x1007ffff;
	s.SettableData = 0x0f;
	s.SettableStopParity = 0x1f07;
	s.CurrentRxQueue = p->size;
	return answer(c, &s, sizeof s);
}

/* values writes the present state as records, as the options ask for them; it returns how long they are. */
static ULONG values(port *p, UCHAR *b, UCHAR escape, ULONG options)
{
	port *from = p->peer;
	UCHAR *w = b;

	if (options & (OPT_LSR | OPT_BREAK)) {
		*w++ = escape;
		*w++ = REC_LSR;
		*w++ = 0x60 | ((options & OPT_BREAK) && from->breaks ? 0x10 : 0);
	}
	if (options & OPT_MST) {
		*w++ = escape;
		*w++ = REC_MSR;
		*w++ = p->msr;
	}
	if (options & OPT_RBR) {
		*w++ = escape;
		*w++ = REC_BAUD;
		RtlCopyMemory(w, &from->baud, sizeof from->baud);
		w += sizeof from->baud;
	}
	if (options & OPT_RLC) {
		*w++ = escape;
		*w++ = REC_LINE;
		*w++ = from->line.WordLength;
		*w++ = from->line.Parity;
		*w++ = from->line.StopBits;
	}
	return w - b;
}

static BOOLEAN escape_allowed(port *p, UCHAR escape)
{
	return !escape || (escape != p->chars.XonChar && escape != p->chars.XoffChar && !(p->flow.FlowReplace & SERIAL_ERROR_CHAR));
}

static NTSTATUS lsrmst_insert(port *p, call *c, PLIST_ENTRY done)
{
	static const UCHAR caps[8] = { 'c', '0', 'c', 0, 3, 7, 0, 3 };
	ULONG options = OPT_LSR | OPT_MST;
	UCHAR escape, now[17];
	NTSTATUS status = input(c, &escape, 1);

	if (status)
		return status;
	if (c->in >= 9 && signed_c0ce(c->buf + 1)) {
		RtlCopyMemory(&options, c->buf + 5, sizeof options);
		if (options == OPT_CAPS) {
			options = 0;
			status = answer(c, caps, sizeof caps);
		} else if (options & ~(ULONG)(OPT_ALL | OPT_GET | OPT_RXCLEAR)) {
			return STATUS_INVALID_PARAMETER;
		} else if (options & OPT_GET) {
			status = answer(c, now, values(p, now, escape, options));
		}
		if (status)
			return status;
	}
	if (!escape_allowed(p, escape)) {
		c->n = 0;
		return STATUS_INVALID_PARAMETER;
	}
	p->escape = escape;
	p->options = options & OPT_ALL;
	if (options & OPT_RXCLEAR) {
		p->count = 0;
		pump_writes(p->peer, done);
	}
	return STATUS_SUCCESS;
}

static NTSTATUS on_ioctl(port *p, PIRP irp, ULONG code, call *c, PLIST_ENTRY done)
{
	switch (code) {
	case IOCTL_SERIAL_SET_BAUD_RATE:
		return set_baud(p, c, done);
	case IOCTL_SERIAL_GET_BAUD_RATE:
		return answer_word(c, p->baud);
	case IOCTL_SERIAL_SET_LINE_CONTROL:
		return set_line(p, c, done);
	case IOCTL_SERIAL_GET_LINE_CONTROL:
		return answer(c, &p->line, sizeof p->line);
	case IOCTL_SERIAL_SET_TIMEOUTS:
		return input(c, &p->timeouts, sizeof p->timeouts);
	case IOCTL_SERIAL_GET_TIMEOUTS:
		return answer(c, &p->timeouts, sizeof p->timeouts);
	case IOCTL_SERIAL_SET_CHARS:
		return input(c, &p->chars, sizeof p->chars);
	case IOCTL_SERIAL_GET_CHARS:
		return answer(c, &p->chars, sizeof p->chars);
	case IOCTL_SERIAL_SET_HANDFLOW:
		return set_handflow(p, c, done);
	case IOCTL_SERIAL_GET_HANDFLOW:
		return answer(c, &p->flow, sizeof p->flow);
	case IOCTL_SERIAL_SET_QUEUE_SIZE:
		return set_queue(p, c, done);
	case IOCTL_SERIAL_SET_WAIT_MASK:
		return set_wait_mask(p, c, done);
	case IOCTL_SERIAL_GET_WAIT_MASK:
		return answer_word(c, p->wait_mask);
	case IOCTL_SERIAL_WAIT_ON_MASK:
		return wait_on_mask(p, irp, c, done);
	case IOCTL_SERIAL_SET_DTR:
		set_mcr(p, MCR_DTR, MCR_DTR, done);
		return STATUS_SUCCESS;
	case IOCTL_SERIAL_CLR_DTR:
		set_mcr(p, 0, MCR_DTR, done);
		return STATUS_SUCCESS;
	case IOCTL_SERIAL_SET_RTS:
		set_mcr(p, MCR_RTS, MCR_RTS, done);
		return STATUS_SUCCESS;
	case IOCTL_SERIAL_CLR_RTS:
		set_mcr(p, 0, MCR_RTS, done);
		return STATUS_SUCCESS;
	case IOCTL_SERIAL_GET_DTRRTS:
		return answer_word(c, p->mcr & (MCR_DTR | MCR_RTS));
	case IOCTL_SERIAL_GET_MODEM_CONTROL:
		return answer_word(c, p->mcr & 0x7f);
	case IOCTL_SERIAL_SET_MODEM_CONTROL:
		return set_modem_control(p, c, done);
	case IOCTL_SERIAL_GET_MODEMSTATUS:
		return answer_word(c, p->msr);
	case IOCTL_SERIAL_SET_BREAK_ON:
		set_break(p, TRUE, done);
		return STATUS_SUCCESS;
	case IOCTL_SERIAL_SET_BREAK_OFF:
		set_break(p, FALSE, done);
		return STATUS_SUCCESS;
	case IOCTL_SERIAL_PURGE:
		return purge(p, c, done);
	case IOCTL_SERIAL_GET_COMMSTATUS:
		return get_status(p, c);
	case IOCTL_SERIAL_GET_PROPERTIES:
		return get_properties(p, c);
	case IOCTL_SERIAL_LSRMST_INSERT:
		return lsrmst_insert(p, c, done);
	case IOCTL_SERIAL_SET_XON:
	case IOCTL_SERIAL_SET_XOFF:
	case IOCTL_SERIAL_CLEAR_STATS:
		return STATUS_SUCCESS;
	}
	return STATUS_INVALID_PARAMETER;
}

/* ---- the driver ---- */

static port *port_of(PDEVICE_OBJECT dev)
{
	int i;

	for (i = 0; ports[i].dev != dev; i++)
		;
	return &ports[i];
}

/* handle does what one request asks for: its status, STATUS_PENDING where it is answered later. */
static NTSTATUS handle(port *p, PIRP irp, ULONG *n, PLIST_ENTRY done)
{
	PIO_STACK_LOCATION s = IoGetCurrentIrpStackLocation(irp);
	call c = { irp->AssociatedIrp.SystemBuffer };
	NTSTATUS status = STATUS_SUCCESS;

	if (s->MajorFunction == IRP_MJ_CREATE) {
		if (p->owner)
			return STATUS_ACCESS_DENIED;
		on_open(p, s->FileObject, done);
		return STATUS_SUCCESS;
	}
	if (p->owner != s->FileObject) /* Wine has opened it all the same */
		return s->MajorFunction == IRP_MJ_CLOSE || s->MajorFunction == IRP_MJ_CLEANUP ? STATUS_SUCCESS : STATUS_ACCESS_DENIED;
	switch (s->MajorFunction) {
	case IRP_MJ_CLEANUP:
		on_cleanup(p, done);
		break;
	case IRP_MJ_CLOSE:
		on_close(p, done);
		break;
	case IRP_MJ_FLUSH_BUFFERS:
		break;
	case IRP_MJ_READ:
		if (!s->Parameters.Read.Length)
			break;
		on_read(p, irp, s->Parameters.Read.Length, done);
		return STATUS_PENDING;
	case IRP_MJ_WRITE:
		irp->IoStatus.Information = 0;
		if (pend(irp, &p->writes, done))
			pump_writes(p, done);
		return STATUS_PENDING;
	case IRP_MJ_DEVICE_CONTROL:
		c.in = s->Parameters.DeviceIoControl.InputBufferLength;
		c.out = s->Parameters.DeviceIoControl.OutputBufferLength;
		status = on_ioctl(p, irp, s->Parameters.DeviceIoControl.IoControlCode, &c, done);
		*n = status ? 0 : c.n;
		break;
	default:
		status = STATUS_INVALID_DEVICE_REQUEST;
	}
	return status;
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT dev, PIRP irp)
{
	LIST_ENTRY done;
	KIRQL irql;
	ULONG n = 0;
	NTSTATUS status;

	InitializeListHead(&done);
	KeAcquireSpinLock(&lock, &irql);
	status = handle(port_of(dev), irp, &n, &done);
	KeReleaseSpinLock(&lock, irql);
	complete_all(&done);
	if (status == STATUS_PENDING)
		return status;
	irp->IoStatus.Status = status;
	irp->IoStatus.Information = n;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
	return status;
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	int i;

	for (i = 0; i < port_count; i++) {
		RtlDeleteRegistryValue(RTL_REGISTRY_DEVICEMAP, L"SERIALCOMM", ports[i].device);
		IoDeleteSymbolicLink(&ports[i].link_string);
		IoDeleteDevice(ports[i].dev);
	}
}

static WCHAR *append(WCHAR *to, const WCHAR *s)
{
	while (*s)
		*to++ = *s++;
	*to = 0;
	return to;
}

static WCHAR *append_digit(WCHAR *to, int n)
{
	*to++ = L'0' + n;
	*to = 0;
	return to;
}

/* read_value fills a ULONG or a UNICODE_STRING; one that the key does not have stays as it is. */
static void read_value(const WCHAR *path, const WCHAR *name, PVOID into)
{
	RTL_QUERY_REGISTRY_TABLE table[2];

	RtlZeroMemory(table, sizeof table);
	table[0].Flags = RTL_QUERY_REGISTRY_DIRECT;
	table[0].Name = (WCHAR *)name;
	table[0].EntryContext = into;
	RtlQueryRegistryValues(RTL_REGISTRY_ABSOLUTE, path, table, NULL, NULL);
}

/* read_parameters fills a port's name, pins and HiddenMode from its key, and returns whether it has a name. */
static BOOLEAN read_parameters(port *p, PUNICODE_STRING service, const WCHAR *id, int n)
{
	UNICODE_STRING name = { 0, sizeof p->name, p->name };
	WCHAR path[256], *w = path;
	int i;

	if (service->Length / sizeof(WCHAR) > 200)
		return FALSE;
	for (i = 0; i < service->Length / sizeof(WCHAR); i++)
		*w++ = service->Buffer[i];
	append_digit(append(append(w, L"\\Parameters\\"), id), n);
	for (i = 0; i < LINES; i++)
		read_value(path, pin_name[i], &p->pin[i]);
	read_value(path, L"HiddenMode", &p->hidden);
	read_value(path, L"PortName", &name);
	p->name[NAME - 1] = 0;
	return p->name[0] != 0;
}

/* init_port gives a port what it has before anybody has opened it; the pins are com0com's defaults. */
static void init_port(port *p, int i)
{
	RtlZeroMemory(p, sizeof *p);
	p->peer = &ports[i ^ 1];
	p->buf = memory[i];
	p->size = QUEUE;
	InitializeListHead(&p->reads);
	InitializeListHead(&p->writes);
	InitializeListHead(&p->waits);
	KeInitializeTimer(&p->timer);
	KeInitializeDpc(&p->timed_out, on_timeout, p);
	p->baud = 1200;
	p->line.WordLength = 7;
	p->line.Parity = EVEN_PARITY;
	p->chars.XonChar = 0x11;
	p->chars.XoffChar = 0x13;
	p->flow.ControlHandShake = SERIAL_DTR_CONTROL;
	p->flow.FlowReplace = SERIAL_RTS_CONTROL;
	p->mcr = MCR_OUT2;
	p->pin[CTS] = PIN_RRTS;
	p->pin[DSR] = p->pin[DCD] = PIN_RDTR;
	p->pin[RI] = PIN_ON | PIN_NOT;
}

/* find_pairs reads the registry into ports. */
static void find_pairs(PUNICODE_STRING service)
{
	int n;

	for (n = 0; n < NUMBERS && port_count < 2 * PAIRS; n++) {
		port *a = &ports[port_count], *b = a + 1;

		init_port(a, port_count);
		init_port(b, port_count + 1);
		if (read_parameters(a, service, L"CNCA", n) && read_parameters(b, service, L"CNCB", n)) {
			append_digit(append(a->device, L"\\Device\\com0com1"), n);
			append_digit(append(b->device, L"\\Device\\com0com2"), n);
			port_count += 2;
		}
	}
	if (port_count)
		return;
	append(ports[0].name, L"COM9");
	append(ports[0].device, L"\\Device\\com0com10");
	ports[0].pin[DCD] = PIN_ROUT1;
	ports[0].pin[RI] = PIN_ROUT2 | PIN_NOT;
	append(ports[1].name, L"CNCB0");
	append(ports[1].device, L"\\Device\\com0com20");
	ports[1].pin[DCD] = PIN_ROPEN;
	port_count = 2;
}

static NTSTATUS make_device(PDRIVER_OBJECT driver, port *p)
{
	UNICODE_STRING name;
	NTSTATUS status;

	RtlInitUnicodeString(&name, p->device);
	append(append(p->link, L"\\DosDevices\\"), p->name);
	RtlInitUnicodeString(&p->link_string, p->link);
	status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_SERIAL_PORT, 0, FALSE, &p->dev);
	if (status)
		return status;
	p->dev->Flags |= DO_BUFFERED_IO;
	IoCreateSymbolicLink(&p->link_string, &name);
	if (!(p->hidden & HIDDEN_SERIALCOMM))
		RtlWriteRegistryValue(RTL_REGISTRY_DEVICEMAP, L"SERIALCOMM", p->device, REG_SZ, p->name,
				      (ULONG)((wcslen(p->name) + 1) * sizeof(WCHAR)));
	p->dev->Flags &= ~DO_DEVICE_INITIALIZING;
	return STATUS_SUCCESS;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING service)
{
	LIST_ENTRY nobody; /* has asked for anything yet */
	NTSTATUS status;
	int i;

	KeInitializeSpinLock(&lock);
	InitializeListHead(&nobody);
	for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
		driver->MajorFunction[i] = dispatch;
	driver->DriverUnload = unload;
	find_pairs(service);
	for (i = 0; i < port_count; i++) {
		status = make_device(driver, &ports[i]);
		if (status)
			return status;
	}
	for (i = 0; i < port_count; i++)
		refresh_msr(&ports[i], &nobody);
	return STATUS_SUCCESS;
}
