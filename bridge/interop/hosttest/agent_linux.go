package hosttest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// process is a program that a check has started; it has ended when the check ends.
type process struct {
	*exec.Cmd
	out  testenv.Output
	done chan struct{} // closed when it has ended
	err  error         // of Wait; valid after done is closed
}

// start starts a program. Its output is collected, unless the caller has set Stdout or Stderr.
func (b *bench) start(cmd *exec.Cmd) *process {
	b.Helper()
	p := &process{Cmd: cmd, done: make(chan struct{})}
	if p.Stdout == nil {
		p.Stdout = &p.out
	}
	if p.Stderr == nil {
		p.Stderr = &p.out
	}
	p.WaitDelay = time.Second                               // the program of a killed agent may keep these pipes open for longer
	p.Env = append(p.Environ(), "GORACE=atexit_sleep_ms=0") // with the race detector, exit would take a second
	if err := p.Start(); err != nil {
		b.Fatalf("start %s: %v", cmd, err)
	}
	go func() {
		p.err = p.Wait()
		close(p.done)
	}()
	b.Cleanup(func() {
		p.end(unix.SIGTERM)
		if strings.Contains(p.out.String(), "WARNING: DATA RACE") {
			b.Errorf("%s has a data race", filepath.Base(cmd.Path))
		}
		if b.Failed() {
			b.Logf("output of %s:\n%s", cmd, p.out.String())
		}
	})
	return p
}

// end sends a signal and waits for the end. If that does not come, SIGQUIT makes a Go program print its stacks.
func (p *process) end(s os.Signal) {
	_ = p.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(testenv.Patience):
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
func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(testenv.Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s: not within %v", what, testenv.Patience)
		}
	}
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// serve starts our own access server. The first one of a check takes a free port, later ones the same port.
func (b *bench) serve(flags ...string) *process {
	b.Helper()
	listen := b.server
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	p := b.start(exec.Command(b.host.Telnetcpc, append([]string{"serve", "-v", "--listen", listen}, flags...)...))
	b.eventually("the access server listens", func() bool {
		m := listening.FindStringSubmatch(p.out.String())
		if m == nil && p.ended() {
			b.Fatalf("the access server ended: %s", p.out.String())
		}
		if m != nil {
			b.server = m[1]
		}
		return m != nil
	})
	return p
}

// prints waits until a process has printed a line with all of the words.
func (b *bench) prints(p *process, words ...string) {
	b.Helper()
	b.eventually(fmt.Sprintf("it prints %q", words), func() bool {
		for line := range strings.Lines(p.out.String()) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// started is an agent and the program under test, which runs beside it or, if the agent starts it, under it.
type started struct {
	agent  *process
	puppet puppet
	within bool // the agent has started the program, and ends with it
	killed bool // the agent was killed, so it does not end in order
}

// attach starts an agent for the access server, and the program under test.
func (b *bench) attach(flags ...string) *process {
	b.Helper()
	return b.attachTo(b.server, flags...)
}

func (b *bench) attachTo(url string, flags ...string) *process {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	agent, program := b.host.Start(Agent{
		Telnetcpc: b.host.Telnetcpc, Flags: flags, Path: b.path, URL: url, Program: []string{self, puppetWord},
	})
	front := program // the process whose standard input and output are the program's
	if front == nil {
		front = agent
	}
	in, err := front.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	// Not StdoutPipe: Wait would close it.
	out, theirs, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	front.Stdout = theirs
	old, _ := filepath.EvalSymlinks(b.path) // the link of a dead agent
	b.started = &started{agent: b.start(agent), within: program == nil}
	b.waitForPort(b.started.agent, old)
	if program != nil {
		b.start(program)
	}
	_ = theirs.Close()
	b.started.puppet = puppet{rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})}
	s := b.started
	b.Cleanup(func() { // runs before the cleanup of start, which only ends the process
		_ = s.puppet.Close() // ends the program, and so an agent that started it
		_ = out.Close()
		if !s.killed {
			b.endAgent(s.agent, s.within)
		}
	})
	return b.started.agent
}

// waitForPort waits until the path leads to a device other than old.
func (b *bench) waitForPort(agent *process, old string) {
	b.Helper()
	b.eventually("the port exists", func() bool {
		if agent.ended() {
			b.Fatalf("the agent ended: %s", agent.out.String())
		}
		device, err := filepath.EvalSymlinks(b.path)
		return err == nil && device != old
	})
}

// endAgent ends an agent in order, and checks that nothing of it is left. byItself: it ends without a signal.
func (b *bench) endAgent(agent *process, byItself bool) {
	b.Helper()
	if !byItself {
		_ = agent.Process.Signal(unix.SIGTERM)
	}
	select {
	case <-agent.done:
	case <-time.After(testenv.Patience):
		b.Error("the agent does not end")
		agent.end(unix.SIGQUIT)
	}
	if agent.err != nil {
		b.Errorf("the agent ended with %v", agent.err)
	}
	if _, err := os.Lstat(b.path); !errors.Is(err, os.ErrNotExist) {
		b.Errorf("the agent has left %s", b.path)
	}
}

// listens reports whether a TCP server listens at an address.
func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}
