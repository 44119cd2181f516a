package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// device is qemu's 16550A: a UART with a driver that knows all of termios. At its line is the test outside, which sends
// back what it gets.
const device = "/dev/ttyS1"

// startSer2net starts a real access server on the UART. The program that it returns has the UART open too, to look at it.
func startSer2net(t *testing.T) *uarttest.TTYProgram {
	t.Helper()
	eye, err := uarttest.OpenTTY(device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eye.Close() })
	config := filepath.Join(t.TempDir(), "ser2net.yaml")
	text := fmt.Sprintf("connection: &port\n    accepter: telnet(rfc2217),tcp,%s\n    connector: serialdev,%s,9600n81,local\n",
		strings.Replace(server, ":", ",", 1), device)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	listens(t, start(t, "/usr/sbin/ser2net", "-n", "-d", "-c", config))
	return eye
}

// flags are those of a termios that say a line coding.
const flags = unix.CSIZE | unix.PARENB | unix.PARODD | unix.CMSPAR | unix.CSTOPB

// checkSer2net: every line coding that a program sets at the port is in the termios of the far UART when the bytes behind
// it come back.
func checkSer2net(t *testing.T) {
	eye := startSer2net(t)
	attach(t)
	program := open(t)
	talks(t, program)
	same := func(c uart.Coding) {
		t.Helper()
		set(t, program, uart.Event{Coding: c})
		// At 5 data bits the UART keeps 5 of each byte: what comes back is a sign of time alone.
		if _, err := program.Write([]byte{0x15}); err != nil {
			t.Fatal(err)
		}
		expect(t, program, "\x15")
		want, got := termios(t, program), termios(t, eye)
		if got.Ospeed != want.Ospeed || got.Cflag&flags != want.Cflag&flags {
			t.Errorf("set %v: the far UART has %d baud, flags %#o, want %d, %#o", c, got.Ospeed, got.Cflag&flags, want.Ospeed, want.Cflag&flags)
		}
	}
	for _, baud := range []uint32{300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200} {
		same(uart.Coding{Baud: baud, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1})
	}
	// Mark and space come last: this ser2net (gensio 2.6) never takes CMSPAR back.
	for parity := uart.ParityNone; parity <= uart.ParitySpace; parity++ {
		for _, bits := range []uint8{5, 7, 8} {
			for _, stop := range []uart.StopBits{uart.Stop1, uart.Stop2} {
				same(uart.Coding{Baud: 9600, DataBits: bits, Parity: parity, StopBits: stop})
			}
		}
	}
	for _, control := range []uart.Control{
		{DTR: uart.LevelOff, RTS: uart.LevelOff}, {DTR: uart.LevelOn}, {RTS: uart.LevelOn}, {DTR: uart.LevelOff}, {DTR: uart.LevelOn},
	} {
		set(t, program, uart.Event{Control: control})
		var want string
		eventually(t, "the far UART's lines", func() bool {
			want = lines(t, program)
			return farLines(t) == want
		})
	}
}

func termios(t *testing.T, p *uarttest.TTYProgram) (tio unix.Termios) {
	t.Helper()
	if err := p.Control(func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
		if err == nil {
			tio = *now
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return tio
}

// lines are DTR and RTS as the port has them, in the words of farLines.
func lines(t *testing.T, p *uarttest.TTYProgram) string {
	t.Helper()
	var bits int
	if err := p.Control(func(fd int) (err error) {
		bits, err = unix.IoctlGetInt(fd, unix.TIOCMGET)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var on []string
	if bits&unix.TIOCM_RTS != 0 {
		on = append(on, "RTS")
	}
	if bits&unix.TIOCM_DTR != 0 {
		on = append(on, "DTR")
	}
	return strings.Join(on, "|")
}

var outLines = regexp.MustCompile(`\b(RTS|DTR)\b`)

// farLines are DTR and RTS of the far UART, as its driver lists them; asking for them does not touch it.
func farLines(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/tty/driver/serial")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "1:") {
			return strings.Join(outLines.FindAllString(line, -1), "|")
		}
	}
	t.Fatal("the kernel lists no second UART")
	return ""
}
