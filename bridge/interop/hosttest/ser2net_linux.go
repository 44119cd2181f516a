package hosttest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// startSer2net starts a real access server, on the host's UART or on a pty in its place. The TTYProgram that it returns has the
// far device open too, to read its settings.
func (b *bench) startSer2net() *uarttest.TTYProgram {
	b.Helper()
	device := b.host.UART
	if device == "" {
		device = b.plug()
	}
	far, err := uarttest.OpenTTY(device)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = far.Close() })
	b.server = freeAddress(b)
	config := filepath.Join(b.TempDir(), "ser2net.yaml")
	text := fmt.Sprintf("connection: &port\n    accepter: telnet(rfc2217),tcp,%s\n    connector: serialdev,%s,9600n81,local\n",
		strings.Replace(b.server, ":", ",", 1), device)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p := b.start(exec.Command("/usr/sbin/ser2net", "-n", "-d", "-c", config))
	b.eventually("ser2net listens", func() bool {
		if p.ended() {
			b.Fatalf("ser2net ended: %s", p.out.String())
		}
		return listens(b.server)
	})
	return far
}

// plug returns a pty whose master echoes what it receives until the check ends.
func (b *bench) plug() (device string) {
	b.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = slave.Close() })
	device = slave.Name()
	// Open returns a blocking descriptor: Close would not end a read of it.
	fd, err := unix.Dup(int(master.Fd()))
	_ = master.Close()
	if err != nil {
		b.Fatal(err)
	}
	_ = unix.SetNonblock(fd, true)
	line := os.NewFile(uintptr(fd), "plug")
	b.Cleanup(func() { _ = line.Close() })
	go func() { _, _ = io.Copy(line, line) }()
	return device
}

// freeAddress returns a local address on which nothing listens now.
func freeAddress(b *bench) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// flags are the bits of c_cflag that hold a line coding. They are repeated here on purpose: if this check used package termios,
// as the hosts do, it would not find its mistakes.
const flags = unix.CSIZE | unix.PARENB | unix.PARODD | unix.CMSPAR | unix.CSTOPB

// checkSer2net: a line coding that a program sets at the port is in the termios of the far UART when the bytes after it come
// back, as far as the host carries it and the far end can show it.
func checkSer2net(b *bench) {
	far := b.startSer2net()
	b.attach()
	p := b.open()
	b.talks(p)
	shown := uint32(flags)
	if b.host.UART == "" {
		shown = unix.CSTOPB
	}
	for _, feature := range []struct {
		uart.Fidelity
		flags uint32
	}{
		{uart.CarriesDataBits, unix.CSIZE},
		{uart.CarriesParity, unix.PARENB | unix.PARODD | unix.CMSPAR},
		{uart.CarriesStopBits, unix.CSTOPB},
	} {
		if !b.carries(feature.Fidelity) {
			shown &^= feature.flags
		}
	}
	same := func(c uart.Coding) {
		b.Helper()
		if err := p.set(uart.Event{Coding: c}); err != nil && b.arrives(c) == c {
			b.Errorf("set %v: %v", c, err)
		}
		// With 5 data bits the UART keeps 5 bits of each byte, so the byte that comes back only shows that the time has come.
		b.writes(p, "\x15")
		b.expect(p, "\x15")
		want, err := p.termios()
		if err != nil {
			b.Fatal(err)
		}
		got := termios(b, far)
		if got.Ospeed != want.Ospeed || got.Cflag&shown != want.Cflag&shown {
			b.Errorf("set %v: the far UART has %d baud, flags %#o, want %d, %#o", c, got.Ospeed, got.Cflag&shown, want.Ospeed, want.Cflag&shown)
		}
	}
	for _, baud := range bauds {
		same(uart.Coding{Baud: baud, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1})
	}
	for _, c := range codings() {
		same(c)
	}
	if b.host.UART != "" && b.carries(outLines) {
		sameLines(b, p)
	}
}

// sameLines: the far UART's DTR and RTS follow those that the program sets.
func sameLines(b *bench, p *program) {
	for _, control := range []uart.Control{
		{DTR: uart.LevelOff, RTS: uart.LevelOff}, {DTR: uart.LevelOn}, {RTS: uart.LevelOn}, {DTR: uart.LevelOff}, {DTR: uart.LevelOn},
	} {
		b.set(p, uart.Event{Control: control})
		var want string
		b.eventually("the far UART's lines", func() bool {
			var err error
			if want, err = p.driven(); err != nil {
				b.Fatal(err)
			}
			return farLines(b) == want
		})
	}
}

func termios(b *bench, p *uarttest.TTYProgram) (tio unix.Termios) {
	b.Helper()
	if err := p.Control(func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
		if err == nil {
			tio = *now
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return tio
}

var linePattern = regexp.MustCompile(`\b(RTS|DTR)\b`)

// farLines returns DTR and RTS of the far UART from its driver's list, which does not disturb it.
func farLines(b *bench) string {
	b.Helper()
	text, err := os.ReadFile("/proc/tty/driver/serial")
	if err != nil {
		b.Fatal(err)
	}
	number := strings.TrimPrefix(b.host.UART, "/dev/ttyS") + ":"
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, number) {
			return strings.Join(linePattern.FindAllString(line, -1), "|")
		}
	}
	b.Fatalf("the kernel does not list %s", b.host.UART)
	return ""
}
