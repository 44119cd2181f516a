//go:build linux || darwin || freebsd

package termios_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
)

// The settings in effect after a request: CSTOPB counts as 1.5 stop bits only after a request for 1.5 with 5 data bits,
// CRTSCTS wins over IXON and IXOFF, and what termios cannot express stays as it is.
func TestCodingAfter(t *testing.T) {
	for _, tt := range []struct {
		before string // coding
		flow   string
		coding string // asked for
		asked  string // flow control
		want   string // what the requester reads back
		read   string // what any other program reads; empty: the same
	}{
		{"8N1", "none", "7E2", "none", "7E2 none", ""},
		{"8N1", "none", "5N1.5", "none", "5N1.5 none", "5N2 none"},
		{"8N1", "none", "5N2", "none", "5N2 none", ""},
		{"8N1", "none", "5O1", "none", "5O1 none", ""},
		{"8N1", "none", "8N1.5", "none", "8N1 none", ""},
		{"8N2", "none", "6E1.5", "none", "6E2 none", ""},
		{"5N2", "none", "8N1", "none", "8N1 none", ""},
		{"8E1", "none", "8N1", "none", "8N1 none", ""},
		{"8N1", "none", "8N1", "rtscts", "8N1 rtscts", ""},
		{"8N1", "rtscts", "8N1", "xonxoff", "8N1 xonxoff", ""},
		{"8N1", "xonxoff", "8N1", "rtscts", "8N1 rtscts", ""},
		{"8N1", "xonxoff", "8N1", "/none", "8N1 xonxoff/none", ""},
		{"8N1", "xonxoff", "8N1", "none/", "8N1 none/xonxoff", ""},
		{"8N1", "none", "8N1", "none/xonxoff", "8N1 none/xonxoff", ""},
		{"8N1", "none", "8N1", "xonxoff/rtscts", "8N1 rtscts", ""},
		{"8N1", "none", "8N1", "rtscts/xonxoff", "8N1 rtscts", ""},
		{"8N1", "none", "8N1", "none/rtscts", "8N1 rtscts", ""},
		{"8N1", "rtscts", "8N1", "dcd/dtr", "8N1 rtscts", ""},
		{"8N1", "xonxoff", "8N1", "dsr/none", "8N1 xonxoff/none", ""},
	} {
		t.Run(tt.before+" "+tt.flow+" to "+tt.coding+" "+tt.asked, func(t *testing.T) {
			var tio unix.Termios
			termios.SetCoding(&tio, coding(t, tt.before))
			termios.SetFlow(&tio, flow(t, tt.flow))
			c, f := coding(t, tt.coding), flow(t, tt.asked)
			termios.SetCoding(&tio, c)
			termios.SetFlow(&tio, f)
			if termios.BothFlows(&tio) {
				t.Errorf("both flow controls are set: iflag %#x, cflag %#x", tio.Iflag, tio.Cflag)
			}
			if got := termios.CodingAfter(&tio, c).String() + " " + termios.Flow(&tio).String(); got != tt.want {
				t.Errorf("after the request: got %q, want %q", got, tt.want)
			}
			if tt.read == "" {
				tt.read = tt.want
			}
			if got := termios.Coding(&tio).String() + " " + termios.Flow(&tio).String(); got != tt.read {
				t.Errorf("read: got %q, want %q", got, tt.read)
			}
		})
	}
}

// A program may set both flow controls at once.
func TestBothFlows(t *testing.T) {
	for _, tt := range []struct {
		name string
		soft bool
		hard bool
		want string
		both bool
	}{
		{"IXON and IXOFF", true, false, "xonxoff", false},
		{"CRTSCTS", false, true, "rtscts", false},
		{"CRTSCTS wins", true, true, "rtscts", true},
		{"none", false, false, "none", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tio unix.Termios
			if tt.soft {
				tio.Iflag |= unix.IXON | unix.IXOFF
			}
			if tt.hard {
				tio.Cflag |= unix.CRTSCTS
			}
			if got := termios.Flow(&tio).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := termios.BothFlows(&tio); got != tt.both {
				t.Errorf("both: got %v", got)
			}
		})
	}
}

// Fields that are not set leave what is there, and a zero value changes nothing.
func TestUnsetFields(t *testing.T) {
	var tio unix.Termios
	termios.SetCoding(&tio, coding(t, "19200 7E2"))
	termios.SetFlow(&tio, flow(t, "xonxoff"))
	before := tio
	termios.SetCoding(&tio, uart.Coding{})
	termios.SetFlow(&tio, uart.Flow{})
	if tio != before {
		t.Errorf("got %+v, want %+v", tio, before)
	}
	termios.SetCoding(&tio, uart.Coding{Baud: 1200})
	if got := termios.Coding(&tio).String(); got != "1200 7E2" {
		t.Errorf("got %q, want %q", got, "1200 7E2")
	}
	termios.SetCoding(&tio, uart.Coding{Parity: 9, DataBits: 9, StopBits: 9})
	if got := termios.Coding(&tio).String(); got != "1200 7E2" {
		t.Errorf("after values that are none: got %q, want %q", got, "1200 7E2")
	}
}

func TestRaw(t *testing.T) {
	used := unix.Termios{
		Iflag: unix.IXON | unix.IXANY | unix.ICRNL | unix.PARMRK, Oflag: unix.OPOST, Lflag: unix.ICANON | unix.ECHO,
		Cflag: unix.CS7 | unix.PARENB | unix.CRTSCTS,
	}
	termios.SetCoding(&used, uart.Coding{Baud: 19200})
	raw := used
	termios.MakeRaw(&raw)
	if raw.Iflag != unix.IXON || raw.Oflag != 0 || raw.Lflag != 0 {
		t.Errorf("raw: got iflag %#x, oflag %#x, lflag %#x", raw.Iflag, raw.Oflag, raw.Lflag)
	}
	if got := termios.Coding(&raw); got != termios.Coding(&used) {
		t.Errorf("raw: got %v, want the coding unchanged", got)
	}
	termios.Reset(&used)
	if got := termios.Coding(&used).String() + " " + termios.Flow(&used).String(); got != "9600 8N1 none" {
		t.Errorf("reset: got %q", got)
	}
	if used.Iflag != 0 || used.Cc[unix.VMIN] != 1 || used.Cc[unix.VTIME] != 0 {
		t.Errorf("reset: got iflag %#x, VMIN %d, VTIME %d", used.Iflag, used.Cc[unix.VMIN], used.Cc[unix.VTIME])
	}
}

// Modem states, control lines and purges are the same after there and back.
func TestBits(t *testing.T) {
	const all = uart.CTS | uart.DSR | uart.RI | uart.DCD
	for m := range 256 {
		m := uart.ModemState(m) & all
		if got := termios.ModemState(termios.ModemBits(m)); got != m {
			t.Errorf("modem state %v: got %v", m, got)
		}
	}
	if got := termios.ModemState(unix.TIOCM_DTR | unix.TIOCM_RTS | unix.TIOCM_LE); got != 0 {
		t.Errorf("no line of the device: got %v", got)
	}
	for _, tt := range []struct {
		before int
		set    string
		want   string
	}{
		{0, "DTR on", "DTR on RTS off"},
		{unix.TIOCM_DTR | unix.TIOCM_RTS, "DTR off", "DTR off RTS on"},
		{unix.TIOCM_DTR, "DTR off RTS on", "DTR off RTS on"},
		{unix.TIOCM_RTS, "", "DTR off RTS on"},
		{unix.TIOCM_RTS, "break on", "DTR off RTS on"},
	} {
		c, err := uart.ParseControl(tt.set)
		if err != nil {
			t.Fatal(err)
		}
		bits := termios.SetControl(tt.before|unix.TIOCM_CTS, c)
		if got := termios.Control(bits).String(); got != tt.want || bits&unix.TIOCM_CTS == 0 {
			t.Errorf("set %q: got %q (%#x), want %q", tt.set, got, bits, tt.want)
		}
	}
	for queue, want := range map[int]uart.Purge{
		unix.TCIFLUSH: uart.PurgeRx, unix.TCOFLUSH: uart.PurgeTx, unix.TCIOFLUSH: uart.PurgeBoth,
	} {
		if got, ok := termios.Purge(queue); got != want || !ok {
			t.Errorf("queue %d: got %v, %v, want %v", queue, got, ok, want)
		}
		if got, ok := termios.Queue(want); got != queue || !ok {
			t.Errorf("purge %v: got %d, %v, want %d", want, got, ok, queue)
		}
	}
	if _, ok := termios.Purge(99); ok {
		t.Error("queue 99 purges something")
	}
	if _, ok := termios.Queue(0); ok {
		t.Error("a purge of nothing has a queue")
	}
}

// All of it may be done for each read of a port.
func TestAllocatesNothing(t *testing.T) {
	var tio unix.Termios
	n := testing.AllocsPerRun(100, func() {
		termios.Reset(&tio)
		_ = termios.CodingAfter(&tio, termios.Coding(&tio))
		_ = termios.Flow(&tio)
		_ = termios.ModemState(termios.SetControl(termios.ModemBits(uart.CTS), uart.Control{DTR: uart.LevelOn}))
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// coding reads a coding; one without a rate stays so.
func coding(t *testing.T, s string) uart.Coding {
	t.Helper()
	c, err := uart.ParseCoding(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// flow reads a flow control; the zero value if s is empty.
func flow(t *testing.T, s string) uart.Flow {
	t.Helper()
	f, err := uart.ParseFlow(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
