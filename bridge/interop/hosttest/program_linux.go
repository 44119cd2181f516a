package hosttest

import (
	"bytes"
	"errors"
	"io"
	"net/rpc"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// puppet is the program under test, seen from a check.
type puppet struct{ *rpc.Client }

// do calls a method of the Puppet.
func (p puppet) do(what string, o Order) (Result, error) {
	var r Result
	if err := p.Call("Puppet."+what, o, &r); err != nil {
		return r, err
	}
	return r, r.err()
}

// program is a port that the program under test has open.
type program struct {
	puppet puppet
	id     int
	ahead  []byte // what until has read past its end
}

func (p *program) do(what string, o Order) (Result, error) {
	o.ID = p.id
	return p.puppet.do(what, o)
}

// Read implements io.Reader.
func (p *program) Read(b []byte) (int, error) {
	if len(p.ahead) > 0 {
		n := copy(b, p.ahead)
		p.ahead = p.ahead[n:]
		return n, nil
	}
	r, err := p.do("Read", Order{Size: len(b)})
	return copy(b, r.Data), err
}

// Write implements io.Writer.
func (p *program) Write(b []byte) (int, error) {
	r, err := p.do("Write", Order{Data: b})
	return r.Size, err
}

// Close implements io.Closer: it ends a read and a write.
func (p *program) Close() error {
	_, err := p.do("Close", Order{})
	return err
}

// set applies e: line coding and flow control by one call, lines by a second, break by a third.
func (p *program) set(e uart.Event) error {
	_, err := p.do("Set", Order{Event: e})
	return err
}

func (p *program) purge(what uart.Purge) error {
	_, err := p.do("Flush", Order{Purge: what})
	return err
}

func (p *program) drain() error {
	_, err := p.do("Drain", Order{})
	return err
}

func (p *program) modem() (uart.ModemState, error) {
	r, err := p.do("Modem", Order{})
	return r.Modem, err
}

// driven returns the port's DTR and RTS, written as in the kernel's list of UARTs.
func (p *program) driven() (string, error) {
	r, err := p.do("Modem", Order{})
	var on []string
	if r.Size&unix.TIOCM_RTS != 0 {
		on = append(on, "RTS")
	}
	if r.Size&unix.TIOCM_DTR != 0 {
		on = append(on, "DTR")
	}
	return strings.Join(on, "|"), err
}

// wait is TIOCMIWAIT.
func (p *program) wait(lines int) error {
	_, err := p.do("Wait", Order{Size: lines})
	return err
}

func (p *program) errors() (uart.LineState, error) {
	r, err := p.do("Errors", Order{})
	return r.Line, err
}

func (p *program) waiting() (int, error) {
	r, err := p.do("Waiting", Order{})
	return r.Size, err
}

func (p *program) termios() (unix.Termios, error) {
	r, err := p.do("Get", Order{})
	return r.Termios, err
}

// setTermios is TCSETS2, TCSETSW2 or TCSETSF2.
func (p *program) setTermios(request int, tio unix.Termios) error {
	_, err := p.do("Put", Order{Termios: tio, Request: request})
	return err
}

// change changes the termios by one TCSETS2.
func (p *program) change(f func(*unix.Termios)) error {
	tio, err := p.termios()
	if err != nil {
		return err
	}
	f(&tio)
	return p.setTermios(unix.TCSETS2, tio)
}

// open opens the port until the check ends.
func (b *bench) open() *program {
	b.Helper()
	p, err := b.tryOpen()
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// tryOpen is open for an open that may fail.
func (b *bench) tryOpen() (*program, error) {
	r, err := b.started.puppet.do("Open", Order{Path: b.path})
	p := &program{puppet: b.started.puppet, id: r.ID}
	if err == nil {
		b.Cleanup(func() { _ = p.Close() })
	}
	return p, err
}

// set changes settings and expects success.
func (b *bench) set(p *program, e uart.Event) {
	b.Helper()
	if err := p.set(e); err != nil {
		b.Fatalf("set %v: %v", e, err)
	}
}

// writes writes a text and expects success.
func (b *bench) writes(p *program, text string) {
	b.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		b.Fatalf("write: %v", err)
	}
}

// talks sends a line through the loop plug and reads it back.
func (b *bench) talks(p *program) {
	b.Helper()
	const text = "is anybody there?\r\n"
	b.writes(p, text)
	b.expect(p, text)
}

// expect reads want, and nothing else.
func (b *bench) expect(p *program, want string) {
	b.Helper()
	defer time.AfterFunc(testenv.Patience, func() { _ = p.Close() }).Stop()
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < len(want) && strings.HasPrefix(want, string(got)) {
		n, err := p.Read(buf)
		if err != nil {
			b.Fatalf("read after %q of %q: %v", got, want, err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != want {
		b.Fatalf("read %q, want %q", got, want)
	}
}

// begins reads the first bytes of a text, at least one, and returns how many they were.
func (b *bench) begins(p *program, text string) int {
	b.Helper()
	defer time.AfterFunc(testenv.Patience, func() { _ = p.Close() }).Stop()
	buf := make([]byte, len(text))
	n, err := p.Read(buf)
	if err != nil || n == 0 || !strings.HasPrefix(text, string(buf[:n])) {
		b.Fatalf("read %q, %v: want the beginning of %q", buf[:n], err, text)
	}
	return n
}

// until reads up to a text and returns what came before it. The next read returns what comes after it.
func (b *bench) until(p *program, end string) string {
	b.Helper()
	defer time.AfterFunc(testenv.Patience, func() { _ = p.Close() }).Stop()
	var got []byte
	buf := make([]byte, 4096)
	for {
		if before, after, found := bytes.Cut(got, []byte(end)); found {
			p.ahead = append(after, p.ahead...)
			return string(before)
		}
		n, err := p.Read(buf)
		if err != nil {
			b.Fatalf("read %q, then %v: want ... %q", got, err, end)
		}
		got = append(got, buf[:n]...)
	}
}

// expectBytes is expect for many bytes, in large pieces.
func (b *bench) expectBytes(p *program, want []byte) {
	b.Helper()
	defer time.AfterFunc(testenv.Patience, func() { _ = p.Close() }).Stop()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(readerOf{p}, got); err != nil {
		b.Fatalf("read %d of %d bytes: %v", n, len(want), err)
	}
	if string(got) != string(want) {
		b.Error("the bytes that arrived differ from those that were sent")
	}
}

// readerOf reads in large pieces, because each read is a call to another process.
type readerOf struct{ p *program }

func (r readerOf) Read(b []byte) (int, error) { return r.p.Read(b[:min(len(b), 64<<10)]) }

// notCarried expects ENOTTY, the error of a call that the port does not have.
func (b *bench) notCarried(what string, err error) {
	b.Helper()
	if !errors.Is(err, unix.ENOTTY) {
		b.Errorf("%s: got %v, want ENOTTY: the host does not claim to carry it", what, err)
	}
}

// runs makes the program under test run another one, and returns its exit status and output.
func (b *bench) runs(stdin string, command ...string) (status int, output string) {
	b.Helper()
	r, err := b.started.puppet.do("Exec", Order{Data: []byte(stdin), Command: command})
	if err != nil {
		b.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return r.Size, string(r.Data)
}
