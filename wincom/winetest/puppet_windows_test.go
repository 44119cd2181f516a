package winetest

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"sync"
	"testing"

	"go.bug.st/serial"
)

func TestMain(m *testing.M) {
	if os.Getenv(puppetVariable) == "" {
		os.Exit(m.Run())
	}
	server := rpc.NewServer()
	if err := server.Register(&Puppet{open: map[int]program{}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server.ServeConn(stdio{os.Stdin, os.Stdout}) // until the test closes its end
	os.Exit(0)
}

// stdio joins two files to a connection.
type stdio struct {
	io.ReadCloser
	io.WriteCloser
}

func (s stdio) Close() error { return errors.Join(s.ReadCloser.Close(), s.WriteCloser.Close()) }

// Puppet is a program that uses ports as its caller orders. Calls run concurrently, each in its own goroutine. It is
// exported for package rpc only.
type Puppet struct {
	mu   sync.Mutex // guards the rest
	open map[int]program
	last int
}

// Open opens a port.
func (p *Puppet) Open(o Order, r *Result) error {
	port, err := openProgram(o.Via, o.Name)
	if err != nil {
		return r.fail(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.open[p.last], r.ID = port, p.last
	return nil
}

func (p *Puppet) port(o Order) program {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[o.ID]
}

// Read waits for a byte and returns what there is, Size bytes at most.
func (p *Puppet) Read(o Order, r *Result) error {
	r.Data = make([]byte, o.Size)
	n, err := p.port(o).Read(r.Data)
	r.Data = r.Data[:n]
	return r.fail(err)
}

// Write writes Data.
func (p *Puppet) Write(o Order, r *Result) (err error) {
	r.Size, err = p.port(o).Write(o.Data)
	return r.fail(err)
}

// Set sets Event's coding and control lines.
func (p *Puppet) Set(o Order, r *Result) error { return r.fail(p.port(o).Set(o.Event)) }

// Modem returns the modem state.
func (p *Puppet) Modem(o Order, r *Result) (err error) {
	r.Modem, err = p.port(o).Modem()
	return r.fail(err)
}

// Close closes a port.
func (p *Puppet) Close(o Order, r *Result) error { return r.fail(p.port(o).Close()) }

// Wait waits for one of the events in Size, a mask, and returns those that occurred and the modem state after them.
func (p *Puppet) Wait(o Order, r *Result) error {
	port, ok := p.port(o).(*windowsProgram)
	if !ok {
		return r.fail(errors.New("the library has no events"))
	}
	events, err := port.waitEvent(uint32(o.Size), o.Within, func() {})
	if err != nil {
		return r.fail(err)
	}
	r.Size = int(events)
	return p.Modem(o, r)
}

// List lists the ports as programs do.
func (p *Puppet) List(_ Order, r *Result) (err error) {
	r.Names, err = serial.GetPortsList()
	return r.fail(err)
}

// fail puts a port's error into the result: it is not an error of the connection.
func (r *Result) fail(err error) error {
	if err != nil {
		r.Error = err.Error()
	}
	return nil
}
