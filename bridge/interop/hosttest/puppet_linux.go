package hosttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// puppetWord is the argument that makes a test's binary the program under test.
const puppetWord = "hosttest.program"

// Main turns this process into the program under test if it was started as that, and then does not return. TestMain of tests
// that use Run must call it first.
func Main() {
	if len(os.Args) != 2 || os.Args[1] != puppetWord {
		return
	}
	server := rpc.NewServer()
	if err := server.Register(&Puppet{open: map[int]*uarttest.TTYProgram{}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server.ServeConn(stdio{os.Stdin, os.Stdout}) // returns when the check closes its end
	os.Exit(0)
}

// stdio makes one connection of two files.
type stdio struct {
	io.ReadCloser
	io.WriteCloser
}

func (s stdio) Close() error { return errors.Join(s.ReadCloser.Close(), s.WriteCloser.Close()) }

// Puppet is the program under test: it opens ports and runs programs on request. Calls run concurrently, each in a goroutine,
// so calls that block have threads of their own. It is exported only for package rpc.
type Puppet struct {
	mu   sync.Mutex // guards the fields below
	open map[int]*uarttest.TTYProgram
	last int
}

// Order is the request of a call; each method uses some fields.
type Order struct {
	ID    int // of the open port
	Path  string
	Data  []byte
	Size  int
	Event uart.Event
	Purge uart.Purge
	// Termios, and the request that sets it.
	Termios unix.Termios
	Request int
	Command []string
}

// Result is the reply of a call. It has the error, because package rpc does not keep the errno.
type Result struct {
	ID      int
	Data    []byte
	Size    int
	Modem   uart.ModemState
	Line    uart.LineState
	Termios unix.Termios
	Failed  string // the error's text; empty: success
	Number  syscall.Errno
	End     bool // io.EOF
}

// fail puts an error into the result.
func (r *Result) fail(err error) {
	if err == nil {
		return
	}
	r.Failed = err.Error()
	r.End = errors.Is(err, io.EOF)
	_ = errors.As(err, &r.Number)
}

// err returns the error of a result, which wraps its errno.
func (r *Result) err() error {
	switch {
	case r.Failed == "":
		return nil
	case r.End:
		return io.EOF
	case r.Number != 0:
		return fmt.Errorf("%s [%w]", r.Failed, r.Number)
	}
	return errors.New(r.Failed)
}

func (p *Puppet) port(id int) (*uarttest.TTYProgram, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tty := p.open[id]; tty != nil {
		return tty, nil
	}
	return nil, fmt.Errorf("no port %d is open", id)
}

// with calls f with the open port of o.
func (p *Puppet) with(o Order, r *Result, f func(*uarttest.TTYProgram) error) error {
	tty, err := p.port(o.ID)
	if err == nil {
		err = f(tty)
	}
	r.fail(err)
	return nil
}

// Open opens Path; ID of the result is the port's.
func (p *Puppet) Open(o Order, r *Result) error {
	tty, err := uarttest.OpenTTY(o.Path)
	r.fail(err)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.open[p.last], r.ID = tty, p.last
	return nil
}

// Close closes a port.
func (p *Puppet) Close(o Order, r *Result) error {
	return p.with(o, r, (*uarttest.TTYProgram).Close)
}

// Read reads up to Size bytes.
func (p *Puppet) Read(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) error {
		buf := make([]byte, o.Size)
		n, err := tty.Read(buf)
		r.Data = buf[:n]
		return err
	})
}

// Write writes Data.
func (p *Puppet) Write(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) (err error) {
		r.Size, err = tty.Write(o.Data)
		return err
	})
}

// Set applies Event.
func (p *Puppet) Set(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) error { return tty.Set(o.Event) })
}

// Flush is tcflush.
func (p *Puppet) Flush(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) error { return tty.Purge(o.Purge) })
}

// Drain is tcdrain.
func (p *Puppet) Drain(o Order, r *Result) error {
	return p.with(o, r, (*uarttest.TTYProgram).Drain)
}

// Modem is TIOCMGET: the device's lines in Modem, all bits in Size.
func (p *Puppet) Modem(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) (err error) {
		if r.Modem, err = tty.Modem(); err != nil {
			return err
		}
		return tty.Control(func(fd int) (err error) {
			r.Size, err = unix.IoctlGetInt(fd, unix.TIOCMGET)
			return err
		})
	})
}

// Wait is TIOCMIWAIT for the lines in Size.
func (p *Puppet) Wait(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) error {
		return tty.Wait(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCMIWAIT, o.Size) })
	})
}

// Errors is TIOCGICOUNT.
func (p *Puppet) Errors(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) (err error) {
		r.Line, err = tty.LineErrors()
		return err
	})
}

// Waiting is TIOCINQ.
func (p *Puppet) Waiting(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) (err error) {
		r.Size, err = tty.Waiting()
		return err
	})
}

// Get is TCGETS2.
func (p *Puppet) Get(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) error {
		return tty.Control(func(fd int) error {
			t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
			if err == nil {
				r.Termios = *t
			}
			return err
		})
	})
}

// Put sets Termios by Request: TCSETS2, TCSETSW2 or TCSETSF2. Other calls go on meanwhile.
func (p *Puppet) Put(o Order, r *Result) error {
	return p.with(o, r, func(tty *uarttest.TTYProgram) error {
		return tty.Wait(func(fd int) error { return unix.IoctlSetTermios(fd, uint(o.Request), &o.Termios) })
	})
}

// Exec runs a program to its end, with Data as its standard input. Data of the result is its output, Size its exit status; a
// status other than 0 is no error.
func (p *Puppet) Exec(o Order, r *Result) error {
	cmd := exec.Command(o.Command[0], o.Command[1:]...)
	cmd.Stdin = bytes.NewReader(o.Data)
	out, err := cmd.CombinedOutput()
	r.Data = out
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.Size = exit.ExitCode()
		return nil
	}
	r.fail(err)
	return nil
}
