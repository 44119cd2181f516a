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

// tell has it do something.
func (p puppet) tell(what string, o Order) (Result, error) {
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
	ahead  []byte // what until has read beyond its end
}

func (p *program) tell(what string, o Order) (Result, error) {
	o.ID = p.id
	return p.puppet.tell(what, o)
}

// Read implements io.Reader.
func (p *program) Read(b []byte) (int, error) {
	if len(p.ahead) > 0 {
		n := copy(b, p.ahead)
		p.ahead = p.ahead[n:]
		return n, nil
	}
	r, err := p.tell("Read", Order{Size: len(b)})
	return copy(b, r.Data), err
}

// Write implements io.Writer.
func (p *program) Write(b []byte) (int, error) {
	r, err := p.tell("Write", Order{Data: b})
	return r.Size, err
}

// Close implements io.Closer: it ends a read and a write.
func (p *program) Close() error {
	_, err := p.tell("Close", Order{})
	return err
}

// set sets what e says: line coding and flow control by one call, lines by another, break by a third.
func (p *program) set(e uart.Event) error {
	_, err := p.tell("Set", Order{Event: e})
	return err
}

func (p *program) purge(what uart.Purge) error {
	_, err := p.tell("Flush", Order{Purge: what})
	return err
}

func (p *program) drain() error {
	_, err := p.tell("Drain", Order{})
	return err
}

func (p *program) modem() (uart.ModemState, error) {
	r, err := p.tell("Modem", Order{})
	return r.Modem, err
}

// driven are DTR and RTS as the port has them, in the words of the kernel's list of UARTs.
func (p *program) driven() (string, error) {
	r, err := p.tell("Modem", Order{})
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
	_, err := p.tell("Wait", Order{Size: lines})
	return err
}

func (p *program) errors() (uart.LineState, error) {
	r, err := p.tell("Errors", Order{})
	return r.Line, err
}

func (p *program) waiting() (int, error) {
	r, err := p.tell("Waiting", Order{})
	return r.Size, err
}

func (p *program) termios() (unix.Termios, error) {
	r, err := p.tell("Get", Order{})
	return r.Termios, err
}

// setTermios is TCSETS2 or one of its sisters.
func (p *program) setTermios(request int, tio unix.Termios) error {
	_, err := p.tell("Put", Order{Termios: tio, Request: request})
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

// open has the port opened until the check ends.
func (b *bench) open() *program {
	b.Helper()
	p, err := b.opens()
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// opens is open for one that may fail.
func (b *bench) opens() (*program, error) {
	r, err := b.started.puppet.tell("Open", Order{Path: b.path})
	p := &program{puppet: b.started.puppet, id: r.ID}
	if err == nil {
		b.Cleanup(func() { _ = p.Close() })
	}
	return p, err
}

// set wants a change of settings to succeed.
func (b *bench) set(p *program, e uart.Event) {
	b.Helper()
	if err := p.set(e); err != nil {
		b.Fatalf("set %v: %v", e, err)
	}
}

// writes wants a write to succeed.
func (b *bench) writes(p *program, text string) {
	b.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		b.Fatalf("write: %v", err)
	}
}

// talks sends a line through a loop plug.
func (b *bench) talks(p *program) {
	b.Helper()
	const text = "is anybody there?\r\n"
	b.writes(p, text)
	b.expect(p, text)
}

// expect reads what must come.
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

// begins reads what has come of a text, a byte at least, and returns how much it was.
func (b *bench) begins(p *program, text string) int {
	b.Helper()
	defer time.AfterFunc(testenv.Patience, func() { _ = p.Close() }).Stop()
	buf := make([]byte, len(text))
	n, err := p.Read(buf)
	if err != nil || n == 0 || !strings.HasPrefix(text, string(buf[:n])) {
		b.Fatalf("read %q, %v: want the begin of %q", buf[:n], err, text)
	}
	return n
}

// until reads up to a text, and returns what came before it. What comes behind it is read next.
func (b *bench) until(p *program, end string) string {
	b.Helper()
	defer time.AfterFunc(testenv.Patience, func() { _ = p.Close() }).Stop()
	var got []byte
	buf := make([]byte, 4096)
	for {
		if before, behind, found := bytes.Cut(got, []byte(end)); found {
			p.ahead = append(behind, p.ahead...)
			return string(before)
		}
		n, err := p.Read(buf)
		if err != nil {
			b.Fatalf("read %q, then %v: want ... %q", got, err, end)
		}
		got = append(got, buf[:n]...)
	}
}

// expectBytes reads a lot that must come.
func (b *bench) expectBytes(p *program, want []byte) {
	b.Helper()
	defer time.AfterFunc(testenv.Patience, func() { _ = p.Close() }).Stop()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(readerOf{p}, got); err != nil {
		b.Fatalf("read %d of %d bytes: %v", n, len(want), err)
	}
	if string(got) != string(want) {
		b.Error("other bytes came than were sent")
	}
}

// readerOf reads large pieces, as each read is a call to another process.
type readerOf struct{ p *program }

func (r readerOf) Read(b []byte) (int, error) { return r.p.Read(b[:min(len(b), 64<<10)]) }

// lost wants the answer to what a port has no call for.
func (b *bench) lost(what string, err error) {
	b.Helper()
	if !errors.Is(err, unix.ENOTTY) {
		b.Errorf("%s: got %v, want ENOTTY: the host does not claim to carry it", what, err)
	}
}

// runs has the program under test run another one, whose exit status is returned.
func (b *bench) runs(stdin string, command ...string) (status int, said string) {
	b.Helper()
	r, err := b.started.puppet.tell("Exec", Order{Data: []byte(stdin), Command: command})
	if err != nil {
		b.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return r.Size, string(r.Data)
}
