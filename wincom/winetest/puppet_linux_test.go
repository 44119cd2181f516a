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

// puppet is a Windows program that a test controls: the client side of Puppet.
type puppet struct{ *rpc.Client }

// puppetBinary builds this package's test binary for Windows, once.
var puppetBinary = sync.OnceValues(func() (string, error) {
	w, err := theWine()
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.dir, "drive_c", "winetest.exe")
	return path, build("test", "-c", "-o", path, "telnetcpc/wincom/winetest")
})

// startPuppet starts a puppet, which ends with the test.
func startPuppet(t *testing.T, w *wine) puppet {
	t.Helper()
	path, err := puppetBinary()
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
		_ = p.Client.Close() // the program exits at the end of its input
		timeout := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Kill() })
		defer timeout.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program exited with %v", err)
		}
	})
	return p
}

// pipes joins a program's output and input to a connection.
type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipes) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }

// call calls a method of Puppet.
func (p puppet) call(method string, o Order) (Result, error) {
	var r Result
	pending := p.Go("Puppet."+method, o, &r, make(chan *rpc.Call, 1))
	select {
	case <-pending.Done:
		if pending.Error != nil {
			return r, pending.Error
		}
		return r, r.err()
	case <-time.After(2 * testenv.Patience):
		return Result{}, errors.New("the program did not complete " + method)
	}
}

// err returns the error of the port.
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
	r, err := p.call("Open", Order{Via: via, Name: name})
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	o := &opened{p, r.ID}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// opened is a port that a puppet has opened.
type opened struct {
	puppet puppet
	id     int
}

var _ program = (*opened)(nil)

func (p *opened) call(method string, o Order) (Result, error) {
	o.ID = p.id
	return p.puppet.call(method, o)
}

// Read implements program.
func (p *opened) Read(b []byte) (int, error) {
	r, err := p.call("Read", Order{Size: len(b)})
	return copy(b, r.Data), err
}

// Write implements program.
func (p *opened) Write(b []byte) (int, error) {
	r, err := p.call("Write", Order{Data: b})
	return r.Size, err
}

// Close implements program.
func (p *opened) Close() error {
	_, err := p.call("Close", Order{})
	return err
}

// Set implements program.
func (p *opened) Set(e uart.Event) error {
	_, err := p.call("Set", Order{Event: e})
	return err
}

// Modem implements program.
func (p *opened) Modem() (uart.ModemState, error) {
	r, err := p.call("Modem", Order{})
	return r.Modem, err
}

// wait waits for one of the events in mask, and returns those that occurred and the modem state after them.
func (p *opened) wait(mask int) (events int, m uart.ModemState, err error) {
	r, err := p.call("Wait", Order{Size: mask, Within: testenv.Patience})
	return r.Size, r.Modem, err
}
