//go:build amd64 || arm64

package run_test

import (
	"errors"
	"io"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/run"
)

// The programs of uarttest.TestHost must be ones that the host has started: this test's own binary is one, and does by RPC
// what the suite says.

// puppetVariable says to which socket a puppet listens.
const puppetVariable = "TELNETCPC_TEST_PUPPET"

// puppetMain is a puppet's main function, where this process is one.
func puppetMain() {
	path := os.Getenv(puppetVariable)
	if path == "" {
		return
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		panic(err)
	}
	server := rpc.NewServer()
	if err := server.Register(&Puppet{programs: map[int]*uarttest.TTYProgram{}}); err != nil {
		panic(err)
	}
	server.ServeConn(conn)
	os.Exit(0)
}

// Puppet is what is told by RPC.
type Puppet struct {
	mu       sync.Mutex // over all below
	programs map[int]*uarttest.TTYProgram
	last     int
}

// Order is what a program of a puppet shall do, Result what came of it.
type Order struct {
	ID    int
	Path  string
	Data  []byte
	Size  int
	Event uart.Event
	Purge uart.Purge
	On    bool
}

type Result struct {
	ID     int
	Data   []byte
	Size   int
	Modem  uart.ModemState
	Line   uart.LineState
	Ended  bool // io.EOF
	Closed bool // os.ErrClosed
	Errno  int
	Text   string
}

func (r *Result) says(err error) {
	if err == nil {
		return
	}
	r.Text, r.Ended, r.Closed = err.Error(), errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed)
	var errno unix.Errno
	if errors.As(err, &errno) {
		r.Errno = int(errno)
	}
}

func (r *Result) err() error {
	switch {
	case r.Text == "":
		return nil
	case r.Ended:
		return io.EOF
	case r.Closed:
		return os.ErrClosed
	case r.Errno != 0:
		return unix.Errno(r.Errno)
	}
	return errors.New(r.Text)
}

func (p *Puppet) program(id int) *uarttest.TTYProgram {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.programs[id]
}

func (p *Puppet) Open(o Order, r *Result) error {
	program, err := uarttest.OpenTTY(o.Path)
	if err != nil {
		r.says(err)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	r.ID = p.last
	p.programs[r.ID] = program
	return nil
}

func (p *Puppet) Read(o Order, r *Result) error {
	r.Data = make([]byte, o.Size)
	n, err := p.program(o.ID).Read(r.Data)
	r.Data = r.Data[:n]
	r.says(err)
	return nil
}

func (p *Puppet) Write(o Order, r *Result) (err error) {
	r.Size, err = p.program(o.ID).Write(o.Data)
	r.says(err)
	return nil
}

func (p *Puppet) Close(o Order, r *Result) error { r.says(p.program(o.ID).Close()); return nil }
func (p *Puppet) Set(o Order, r *Result) error   { r.says(p.program(o.ID).Set(o.Event)); return nil }
func (p *Puppet) Purge(o Order, r *Result) error { r.says(p.program(o.ID).Purge(o.Purge)); return nil }
func (p *Puppet) Drain(o Order, r *Result) error { r.says(p.program(o.ID).Drain()); return nil }

func (p *Puppet) HangUp(o Order, r *Result) error {
	r.says(p.program(o.ID).HangUpOnClose(o.On))
	return nil
}

func (p *Puppet) Modem(o Order, r *Result) (err error) {
	r.Modem, err = p.program(o.ID).Modem()
	r.says(err)
	return nil
}

func (p *Puppet) LineErrors(o Order, r *Result) (err error) {
	r.Line, err = p.program(o.ID).LineErrors()
	r.says(err)
	return nil
}

// puppet starts a puppet of the host.
func puppet(t *testing.T, h *run.Host) *rpc.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := h.Start([]string{self}, append(os.Environ(), puppetVariable+"="+path))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client := rpc.NewClient(conn)
	t.Cleanup(func() {
		_ = client.Close()
		<-program.Ended()
		program.Close()
	})
	return client
}

// programs is uarttest.Programs of a puppet.
type programs struct{ *rpc.Client }

func (p programs) Path(t *testing.T) string { return uarttest.TTY{}.Path(t) }

func (p programs) tell(what string, o Order) (Result, error) {
	var r Result
	if err := p.Call("Puppet."+what, o, &r); err != nil {
		return r, err
	}
	return r, r.err()
}

func (p programs) Open(path string) (uarttest.Program, error) {
	r, err := p.tell("Open", Order{Path: path})
	if err != nil {
		return nil, err
	}
	return program{p, r.ID}, nil
}

// program is uarttest.Program of a puppet.
type program struct {
	programs
	id int
}

func (p program) Read(b []byte) (int, error) {
	r, err := p.tell("Read", Order{ID: p.id, Size: len(b)})
	return copy(b, r.Data), err
}

func (p program) Write(b []byte) (int, error) {
	r, err := p.tell("Write", Order{ID: p.id, Data: b})
	return r.Size, err
}

func (p program) Close() error {
	_, err := p.tell("Close", Order{ID: p.id})
	return err
}

func (p program) Set(e uart.Event) error {
	_, err := p.tell("Set", Order{ID: p.id, Event: e})
	return err
}

func (p program) Purge(what uart.Purge) error {
	_, err := p.tell("Purge", Order{ID: p.id, Purge: what})
	return err
}

func (p program) Drain() error {
	_, err := p.tell("Drain", Order{ID: p.id})
	return err
}

func (p program) HangUpOnClose(on bool) error {
	_, err := p.tell("HangUp", Order{ID: p.id, On: on})
	return err
}

func (p program) Modem() (uart.ModemState, error) {
	r, err := p.tell("Modem", Order{ID: p.id})
	return r.Modem, err
}

func (p program) LineErrors() (uart.LineState, error) {
	r, err := p.tell("LineErrors", Order{ID: p.id})
	return r.Line, err
}
