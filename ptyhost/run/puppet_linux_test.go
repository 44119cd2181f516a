//go:build amd64 || arm64

package run_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/run"
)

// The programs of uarttest.TestHost must have been started by the host. So this test's own binary is started as a
// puppet, which does by RPC what the suite demands.

// puppetVariable is the socket to which a puppet connects.
const puppetVariable = "TELNETCPC_TEST_PUPPET"

// puppetMain is the main function of a puppet; in any other process it returns.
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
	if err := server.Register(&Puppet{programs: map[int]*uarttest.TTYProgram{}, commands: map[int]puppetCommand{}}); err != nil {
		panic(err)
	}
	server.ServeConn(conn)
	os.Exit(0)
}

// Puppet is the RPC service.
type Puppet struct {
	mu       sync.Mutex // guards everything below
	programs map[int]*uarttest.TTYProgram
	commands map[int]puppetCommand
	last     int
}

// puppetCommand is a command that a puppet has started.
type puppetCommand struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// Order is what a puppet's program is to do, Result the outcome.
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

func (r *Result) setError(err error) {
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
		r.setError(err)
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
	r.setError(err)
	return nil
}

func (p *Puppet) Write(o Order, r *Result) (err error) {
	r.Size, err = p.program(o.ID).Write(o.Data)
	r.setError(err)
	return nil
}

func (p *Puppet) Close(o Order, r *Result) error { r.setError(p.program(o.ID).Close()); return nil }
func (p *Puppet) Set(o Order, r *Result) error   { r.setError(p.program(o.ID).Set(o.Event)); return nil }
func (p *Puppet) Purge(o Order, r *Result) error {
	r.setError(p.program(o.ID).Purge(o.Purge))
	return nil
}
func (p *Puppet) Drain(o Order, r *Result) error { r.setError(p.program(o.ID).Drain()); return nil }

func (p *Puppet) HangUp(o Order, r *Result) error {
	r.setError(p.program(o.ID).HangUpOnClose(o.On))
	return nil
}

func (p *Puppet) Modem(o Order, r *Result) (err error) {
	r.Modem, err = p.program(o.ID).Modem()
	r.setError(err)
	return nil
}

func (p *Puppet) LineErrors(o Order, r *Result) (err error) {
	r.Line, err = p.program(o.ID).LineErrors()
	r.setError(err)
	return nil
}

// Spawn starts a shell's command in a session of its own.
func (p *Puppet) Spawn(o Order, r *Result) error {
	cmd := exec.Command("sh", "-c", string(o.Data))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		r.setError(err)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	r.ID = p.last
	p.commands[r.ID] = puppetCommand{cmd, bufio.NewReader(out)}
	return nil
}

func (p *Puppet) command(id int) puppetCommand {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commands[id]
}

// Line returns a command's next line, or the rest of its output if it has ended.
func (p *Puppet) Line(o Order, r *Result) error {
	s := p.command(o.ID)
	text, err := s.out.ReadString('\n')
	r.Data = []byte(text)
	if err != nil {
		_ = s.cmd.Wait()
	}
	r.setError(err)
	return nil
}

// Kill kills a command.
func (p *Puppet) Kill(o Order, r *Result) error {
	s := p.command(o.ID)
	_ = s.cmd.Process.Kill()
	r.setError(s.cmd.Wait())
	return nil
}

// puppet starts a puppet with the host.
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

// spawned is a command of a puppet.
type spawned struct {
	programs
	id int
}

// spawn starts a shell command as a child of the puppet.
func (p programs) spawn(t *testing.T, command string) spawned {
	t.Helper()
	r, err := p.tell("Spawn", Order{Data: []byte(command)})
	if err != nil {
		t.Fatal(err)
	}
	return spawned{p, r.ID}
}

// readUntil returns the command's output up to this line or, if it is empty, up to its end.
func (s spawned) readUntil(t *testing.T, last string) (out string) {
	t.Helper()
	for {
		r, err := s.tell("Line", Order{ID: s.id})
		out += string(r.Data)
		switch {
		case err == nil && (last == "" || string(r.Data) != last+"\n"):
		case err == nil || err == io.EOF && last == "":
			return out
		default:
			t.Fatalf("the command: %v: %s", err, out)
		}
	}
}

// kill kills the command.
func (s spawned) kill(t *testing.T) {
	t.Helper()
	if _, err := s.tell("Kill", Order{ID: s.id}); err == nil {
		t.Fatal("the command had ended before it was killed")
	}
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
