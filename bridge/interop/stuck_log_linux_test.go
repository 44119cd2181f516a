package interop

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// These tests check that a log that nobody reads blocks nothing: no byte, no setting, and not the end of the program.

// endsWithin is how long the program may take to end, whatever blocks. It is the property under test.
const endsWithin = 20 * time.Second

// stuckRounds is how often the application sets and writes: enough lines to fill whatever could hold them.
const stuckRounds = 2000

// stuckLog is a file to which every write blocks.
type stuckLog struct {
	file *os.File
	end  *os.File // the other end, for reading
}

// stuckLogs are the two ways in which a log blocks.
var stuckLogs = []struct {
	name string
	make func(*testing.T) stuckLog
}{
	{"a pipe that nobody reads", fullPipe},
	{"a terminal stopped by ^S", stoppedTerminal},
}

// fullPipe is `| less`, after its first page.
func fullPipe(t *testing.T) stuckLog {
	t.Helper()
	l := smallPipe(t)
	fd := int(l.file.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	full := bytes.Repeat([]byte("x"), 4096)
	for n := len(full); n > 0; {
		if _, err := unix.Write(fd, full[:n]); errors.Is(err, unix.EAGAIN) {
			n /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	l.checkFull(t)
	return l
}

// smallPipe returns an empty pipe with a small buffer.
func smallPipe(t *testing.T) stuckLog {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatalf("F_SETPIPE_SZ: %v", err)
	}
	if err := unix.SetNonblock(int(w.Fd()), false); err != nil { // as a shell's pipe
		t.Fatal(err)
	}
	return stuckLog{w, r}
}

// stoppedTerminal is a terminal after ^S. Selected text in a terminal window has the same effect.
func stoppedTerminal(t *testing.T) stuckLog {
	t.Helper()
	d := newDevice(t)
	if err := unix.SetNonblock(d.slave.fd, false); err != nil { // as a terminal is
		t.Fatal(err)
	}
	if err := unix.IoctlSetInt(d.slave.fd, unix.TCXONC, unix.TCOOFF); err != nil {
		t.Fatalf("TCXONC: %v", err)
	}
	l := stuckLog{d.slave.File, d.line.File}
	l.checkFull(t)
	return l
}

// checkFull checks that a write would block; otherwise the test would show nothing.
func (l stuckLog) checkFull(t *testing.T) {
	t.Helper()
	room := []unix.PollFd{{Fd: int32(l.file.Fd()), Events: unix.POLLOUT}}
	if n, err := unix.Poll(room, 0); err != nil || n != 0 {
		t.Fatalf("a write to the log would not block: poll returned %d, %v, events %#x", n, err, room[0].Revents)
	}
}

// eachStuckLog runs a test with each of them.
func eachStuckLog(t *testing.T, f func(t *testing.T, l stuckLog)) {
	t.Helper()
	t.Parallel()
	for _, l := range stuckLogs {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			f(t, l.make(t))
		})
	}
}

// program returns telnetcpc with these arguments.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	file, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(file, args...)
}

// waitForPort waits until the port of a program exists.
func waitForPort(t *testing.T, p *process, path string) {
	t.Helper()
	eventually(t, "the port exists", func() bool {
		if p.ended() {
			t.Fatalf("%s ended: %v", p.cmd, p.err)
		}
		_, err := os.Stat(path)
		return err == nil
	})
}

// talk is an application at a loop plug that opens, sets, writes, reads and closes. If closed is not nil, it also
// closes and opens the port in between; closed waits until the agent has noticed the close.
func talk(t *testing.T, path string, closed func()) {
	t.Helper()
	app := openLine(t, path)
	for round := range stuckRounds {
		if round%(stuckRounds/10) == 0 && closed != nil {
			_ = app.Close()
			closed()
			app = openLine(t, path)
		}
		app.set(t, termios{baud: 10_000_000 + uint32(round%2)*10_000_000, stop: 1})
		p := noise(byte(round), 32)
		if err := app.send(p); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := app.expect(p); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	_ = app.Close()
}

// hasNoClient waits until the server's session has ended.
func (s *server) hasNoClient() {
	s.t.Helper()
	eventually(s.t, "the session ends after the last close", func() bool { return len(s.sessions()) == 0 })
}

// endWith sends SIGTERM to a program, which must end within endsWithin and with this status.
func (p *process) endWith(t *testing.T, status int) {
	t.Helper()
	began := time.Now()
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(endsWithin):
		t.Fatalf("%s does not end within %v", p.cmd, endsWithin)
	}
	t.Logf("it ended after %v", time.Since(began).Round(time.Millisecond))
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("exit status %d, want %d", got, status)
	}
}

func TestStuckLogOfAttach(t *testing.T) {
	eachStuckLog(t, func(t *testing.T, l stuckLog) {
		s := startOwn(t, "loopback")
		path := filepath.Join(t.TempDir(), "ttyV0")
		cmd := program(t, "attach", "-v", "--host", "pty", "--linger", "10ms", path, s.url())
		cmd.Stderr = l.file
		p := start(t, cmd)
		waitForPort(t, p, path)
		talk(t, path, s.hasNoClient)
		p.endWith(t, 0)
	})
}

func TestStuckLogOfServe(t *testing.T) {
	eachStuckLog(t, func(t *testing.T, l stuckLog) {
		s := &server{t: t, port: freePort(t)}
		s.command = func() *exec.Cmd {
			cmd := program(t, "serve", "-v", "--simulate", "loopback", "--listen", fmt.Sprintf("127.0.0.1:%d", s.port))
			cmd.Stderr = l.file
			return cmd
		}
		s.start()
		a := s.attach(t, "--linger", "10ms")
		talk(t, a.path, s.hasNoClient)
		s.endWith(t, 0)
	})
}

func TestStuckLogOfRun(t *testing.T) {
	eachStuckLog(t, func(t *testing.T, l stuckLog) {
		const text = "hi" // short, because the line has a real speed
		sum := 0
		for _, b := range []byte(text) {
			sum += int(b)
		}
		path := filepath.Join(t.TempDir(), "ttyV0")
		cmd := program(t, "run", "-v", "--port", path, startOwn(t, "loopback").url(), "--", compile(t, "zeroed"), path)
		cmd.Stderr = l.file
		p := startPuppet(t, cmd)
		for round := range stuckRounds {
			p.do(t, fmt.Sprint("baud ", []int{115200, 19200}[round%2]))
			p.replies(t, "done")
			p.do(t, "write "+text)
			p.replies(t, "done")
			p.do(t, fmt.Sprint("sum ", len(text)))
			p.replies(t, fmt.Sprint(sum))
		}
		p.endWith(t, 128+int(syscall.SIGTERM)) // the program's status
	})
}

// A program that fails cannot print its error, and still ends with its status.
func TestStuckLogOfErrors(t *testing.T) {
	eachStuckLog(t, func(t *testing.T, l stuckLog) {
		taken := startOwn(t, "loopback")
		for status, args := range map[int][]string{
			1:   {"serve", "--simulate", "loopback", "--listen", fmt.Sprintf("127.0.0.1:%d", taken.port)},
			2:   {"attach", "--line", "9E1", "ttyV0", "127.0.0.1"},
			3:   {"attach", "--host", "pty", t.TempDir(), "127.0.0.1"},
			125: {"run", "127.0.0.1"},
		} {
			cmd := program(t, args...)
			cmd.Stderr = l.file
			p := start(t, cmd)
			select {
			case <-p.done:
			case <-time.After(endsWithin):
				t.Fatalf("%s does not end within %v", args, endsWithin)
			}
			if got := cmd.ProcessState.ExitCode(); got != status {
				t.Errorf("%s: exit status %d, want %d", args, got, status)
			}
		}
	})
}

// The demonstration prints to standard output, which may block too.
func TestStuckLogOfDemo(t *testing.T) {
	t.Parallel()
	l := smallPipe(t)
	path := filepath.Join(t.TempDir(), "ttyV0")
	cmd := program(t, "demo", "--port", path)
	cmd.Stdout = l.file
	p := start(t, cmd)
	_ = l.end.SetReadDeadline(time.Now().Add(testenv.Patience))
	for seen := bufio.NewReader(l.end); ; {
		text, err := seen.ReadString('\n')
		if err != nil {
			t.Fatalf("%v, after %q", err, text)
		}
		if strings.Contains(text, "Ctrl-C ends this") {
			break
		}
	}
	talk(t, path, nil)
	p.endWith(t, 0)
}

// When the log is read again it goes on, has the number of missing lines, and its end.
func TestStuckLogGoesOn(t *testing.T) {
	t.Parallel()
	l := fullPipe(t)
	path := filepath.Join(t.TempDir(), "ttyV0")
	cmd := program(t, "attach", "-v", "--host", "pty", path, startOwn(t, "loopback").url())
	cmd.Stderr = l.file
	p := start(t, cmd)
	waitForPort(t, p, path)
	talk(t, path, nil)

	_ = l.file.Close()
	rest := make(chan string, 1)
	go func() {
		text, err := io.ReadAll(l.end)
		if err != nil {
			text = append(text, err.Error()...)
		}
		rest <- string(text)
	}()
	exchange(t, openLine(t, path), openLine(t, path), []byte("once more"))
	p.endWith(t, 0)
	text := <-rest
	for _, want := range []string{`level=INFO msg="port ready"`, `level=WARN msg="log lines were not written: nobody read this log" lines=`, "telnetcpc: ", "records were not shown"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Contains(text, "DATA RACE") {
		t.Errorf("the agent has a data race:\n%s", text)
	}
	for line := range strings.Lines(strings.TrimLeft(text, "x")) {
		if !strings.HasSuffix(line, "\n") || !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "telnetcpc: ") && (len(line) < 3 || line[2] != ':') {
			t.Errorf("a line is cut: %q", line)
		}
	}
}
