package winetest

import (
	"errors"
	"io"
	"net/rpc"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// puppet is a Windows program that a test on this side tells what to do.
type puppet struct{ *rpc.Client }

// itself is this package's test binary for Windows, built once.
var itself = sync.OnceValues(func() (string, error) {
	w, err := theWine()
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.dir, "drive_c", "winetest.exe")
	return path, build("test", "-c", "-o", path, "telnetcpc/wincom/winetest")
})

// startPuppet starts a program until the test ends.
func startPuppet(t *testing.T, w *wine) puppet {
	t.Helper()
	path, err := itself()
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.command([]string{puppetVariable + "=1"}, windowsPath(path))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := puppet{rpc.NewClient(pipes{out, in})}
	t.Cleanup(func() {
		_ = p.Client.Close() // the program ends itself at the end of its input
		over := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Kill() })
		defer over.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program ended with %v", err)
		}
	})
	return p
}

// pipes are a connection of a program's output and its input.
type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipes) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }

// tell has the program do something.
func (p puppet) tell(what string, o Order) (Result, error) {
	var r Result
	call := p.Go("Puppet."+what, o, &r, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return r, call.Error
		}
		return r, r.err()
	case <-time.After(2 * testenv.Patience):
		return Result{}, errors.New("the program is still at it: " + what)
	}
}

// err is what went wrong with the port.
func (r Result) err() error {
	switch r.Error {
	case "":
		return nil
	case io.EOF.Error():
		return io.EOF
	}
	return errors.New(r.Error)
}

// open opens a port.
func (p puppet) open(t *testing.T, via, name string) *opened {
	t.Helper()
	r, err := p.tell("Open", Order{Via: via, Name: name})
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	o := &opened{p, r.ID}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// opened is a port that a puppet has open.
type opened struct {
	puppet puppet
	id     int
}

var _ program = (*opened)(nil)

func (p *opened) tell(what string, o Order) (Result, error) {
	o.ID = p.id
	return p.puppet.tell(what, o)
}

// Read implements program.
func (p *opened) Read(b []byte) (int, error) {
	r, err := p.tell("Read", Order{Size: len(b)})
	return copy(b, r.Data), err
}

// Write implements program.
func (p *opened) Write(b []byte) (int, error) {
	r, err := p.tell("Write", Order{Data: b})
	return r.Size, err
}

// Close implements program.
func (p *opened) Close() error {
	_, err := p.tell("Close", Order{})
	return err
}

// Set implements program.
func (p *opened) Set(e uart.Event) error {
	_, err := p.tell("Set", Order{Event: e})
	return err
}

// Modem implements program.
func (p *opened) Modem() (uart.ModemState, error) {
	r, err := p.tell("Modem", Order{})
	return r.Modem, err
}

// wait waits for one of the events of the mask, and returns which came and the modem state behind it.
func (p *opened) wait(mask int) (events int, m uart.ModemState, err error) {
	r, err := p.tell("Wait", Order{Size: mask, Within: testenv.Patience})
	return r.Size, r.Modem, err
}
