package vmtest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// output collects what a process says.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is a program that a check has started; it is gone when the check ends.
type process struct {
	*exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
}

func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.end(unix.SIGTERM)
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.out.String())
		}
	})
	return p
}

// end sends a signal and waits for the end. Where it does not come, a Go program is made to say what it is at.
func (p *process) end(s os.Signal) {
	_ = p.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.Process.Signal(unix.SIGQUIT)
		<-p.done
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// telnetcpc is the program under test: the host has built it beside this one.
func telnetcpc() string {
	self, _ := os.Executable()
	return filepath.Join(filepath.Dir(self), "telnetcpc")
}

const server = "127.0.0.1:3696"

// serve starts an access server of our own.
func serve(t *testing.T, flags ...string) *process {
	t.Helper()
	return listens(t, start(t, telnetcpc(), append([]string{"serve", "--listen", server}, flags...)...))
}

// listens waits until an access server does.
func listens(t *testing.T, p *process) *process {
	t.Helper()
	eventually(t, "the access server listens", func() bool {
		if p.ended() {
			t.Fatalf("the access server ended: %s", p.out.String())
		}
		c, err := net.Dial("tcp", server)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return p
}

// port is where the agents of these checks make theirs.
const port = "/dev/ttyV0"

// attach starts an agent of the access server and waits until its port is there.
func attach(t *testing.T, flags ...string) *process {
	t.Helper()
	return attachTo(t, server, flags...)
}

func attachTo(t *testing.T, url string, flags ...string) *process {
	t.Helper()
	p := start(t, telnetcpc(), append(append([]string{"attach", "--host", "kernel"}, flags...), port, url)...)
	eventually(t, "the port is there", func() bool {
		if p.ended() {
			t.Fatalf("the agent ended: %s", p.out.String())
		}
		_, err := os.Stat(port)
		return err == nil
	})
	return p
}

// runs runs a program to its end, which must be a good one.
func runs(t *testing.T, stdin string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}
