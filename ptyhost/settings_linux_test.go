package ptyhost_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/aside"
)

// What a program's termios means; each row is one tcsetattr on a port that starts at 9600 8N1.
func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*unix.Termios)
		want   string // the event; empty: none
		logged string
	}{
		{"baud", baud(19200), "settings 19200 ??1 none", ""},
		{"a rate that POSIX does not have", baud(31250), "settings 31250 ??1 none", ""},
		{"the highest rate", baud(4294967295), "settings 4294967295 ??1 none", ""},
		{"two stop bits", func(t *unix.Termios) { t.Cflag |= unix.CSTOPB }, "settings 9600 ??2 none", ""},
		{"XON/XOFF both ways", func(t *unix.Termios) { t.Iflag |= unix.IXON | unix.IXOFF }, "settings 9600 ??1 xonxoff", ""},
		{"IXON alone is outbound", func(t *unix.Termios) { t.Iflag |= unix.IXON }, "settings 9600 ??1 xonxoff/none", ""},
		{"IXOFF alone is inbound", func(t *unix.Termios) { t.Iflag |= unix.IXOFF }, "settings 9600 ??1 none/xonxoff", ""},
		{"RTS/CTS", func(t *unix.Termios) { t.Cflag |= unix.CRTSCTS }, "settings 9600 ??1 rtscts", ""},
		{"RTS/CTS wins over XON/XOFF", func(t *unix.Termios) { t.Cflag |= unix.CRTSCTS; t.Iflag |= unix.IXON },
			"settings 9600 ??1 rtscts", "RTS/CTS is used"},
		{"the output speed is used", func(t *unix.Termios) {
			t.Cflag = t.Cflag&^(unix.CBAUD|unix.CIBAUD) | unix.BOTHER | unix.BOTHER<<unix.IBSHIFT
			t.Ispeed, t.Ospeed = 1200, 75
		}, "settings 75 ??1 none", "output speed is used"},
		{"B0 is no baud rate", func(t *unix.Termios) { baud(0)(t); t.Cflag = t.Cflag&^unix.CBAUD | unix.B0 }, "", ""},
		{"B0 with two stop bits", func(t *unix.Termios) { t.Cflag = t.Cflag&^unix.CBAUD | unix.B0 | unix.CSTOPB }, "settings 9600 ??2 none", ""},
		{"7E1 cannot be seen", func(t *unix.Termios) { t.Cflag = t.Cflag&^unix.CSIZE | unix.CS7 | unix.PARENB }, "", ""},
		{"odd parity is not claimed", func(t *unix.Termios) { t.Cflag |= unix.PARENB | unix.PARODD }, "", ""},
		{"canonical mode is the program's own", func(t *unix.Termios) { t.Lflag |= unix.ICANON | unix.ECHO }, "", ""},
		{"all at once", func(t *unix.Termios) { baud(115200)(t); t.Cflag |= unix.CRTSCTS | unix.CSTOPB }, "settings 115200 ??2 rtscts", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := listening(t)
			p := b.program()
			b.set(p, tt.change)
			// A plain letter passes whatever ISTRIP and such do.
			b.writes(p, "x\n")
			got := ""
			for data := ""; !strings.Contains(data, "x") || got == "" && tt.want != ""; {
				i := b.take()
				if i.event.Kind == uart.KindData {
					data += i.data
				} else {
					got += i.event.String()
				}
			}
			_ = b.port.Close()
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !aside.Wait(testenv.Patience) {
				t.Fatal("the log is not written")
			}
			if log := b.log.String(); !strings.Contains(log, tt.logged) || tt.logged == "" && log != "" {
				t.Errorf("logged: got %q, want it to contain %q", log, tt.logged)
			}
		})
	}
}

// A port starts raw at 9600 8N1; a new pty does not.
func TestStartsRaw(t *testing.T) {
	b := listening(t)
	p := b.program()
	b.set(p, func(tio *unix.Termios) {
		if tio.Iflag != 0 || tio.Oflag != 0 || tio.Lflag != 0 {
			t.Errorf("flags: got iflag %#x oflag %#x lflag %#x, want 0", tio.Iflag, tio.Oflag, tio.Lflag)
		}
		if want := uint32(unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL | unix.B9600); tio.Cflag&^unix.CIBAUD != want || tio.Ospeed != 9600 || tio.Ispeed != 9600 {
			t.Errorf("coding: got cflag %#x, %d and %d baud, want %#x, 9600", tio.Cflag, tio.Ispeed, tio.Ospeed, want)
		}
	})
}

// A program that only opens the port changes nothing; the settings of an earlier one still apply, and were reported.
func TestSettingsPersist(t *testing.T) {
	b := listening(t)
	p := b.program()
	b.set(p, baud(300))
	if e, _ := b.want(uart.KindSettings); e.Coding.Baud != 300 {
		t.Fatalf("got %v", e)
	}
	_ = p.Close()
	b.want(uart.KindClosed)
	p = b.program()
	b.writes(p, "x")
	b.bytes("x")
	b.set(p, func(tio *unix.Termios) {
		if tio.Ospeed != 300 {
			t.Errorf("got %d baud, want 300", tio.Ospeed)
		}
	})
	_ = p.Close()
	b.want(uart.KindClosed)
}

// Changes by a program that zeroes struct termios, or reads in canonical mode, are noticed like any other: packet mode and
// EXTPROC would miss them.
func TestChangesInEveryMode(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode func(*unix.Termios)
	}{
		{"zeroed termios", func(t *unix.Termios) { *t = unix.Termios{Cflag: unix.CS8 | unix.CREAD} }},
		{"canonical mode", func(t *unix.Termios) { t.Lflag |= unix.ICANON | unix.ECHO; t.Iflag |= unix.ICRNL }},
		{"identical values in between", func(t *unix.Termios) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := listening(t)
			p := b.program()
			for i := range uint32(100) {
				want := 1000 + i
				b.set(p, func(t *unix.Termios) { tt.mode(t); baud(want)(t) })
				if e, _ := b.want(uart.KindSettings); e.Coding.Baud != want {
					t.Fatalf("got %v, want %d baud", e, want)
				}
				b.set(p, func(*unix.Termios) {})
			}
		})
	}
}
