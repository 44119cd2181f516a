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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// echo makes the device send back what it receives. It returns the device's termios at the time of the first byte.
func (d *device) echo(t *testing.T) *atomic.Pointer[termios] {
	t.Helper()
	first := new(atomic.Pointer[termios])
	_ = d.SetDeadline(time.Time{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, err := d.Read(buf)
			if err != nil {
				return
			}
			got := d.termios(t)
			first.CompareAndSwap(nil, &got)
			if _, err := d.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = d.SetDeadline(time.Now())
		<-ended
	})
	return first
}

func TestPyserialApplication(t *testing.T) {
	t.Parallel()
	need(t, "python3-serial")
	for _, want := range []termios{
		{baud: 9600, stop: 1},
		{baud: 115200, stop: 2},
		{baud: 57600, stop: 1, rtscts: true},
		{baud: 250000, stop: 1},
	} {
		t.Run(fmt.Sprintf("%+v", want), func(t *testing.T) {
			d := newDevice(t)
			s := startSer2net(t, d)
			a := attach(t, s.url())
			first := d.echo(t)
			app := start(t, exec.Command("/usr/bin/python3", "testdata/application.py", a.path,
				fmt.Sprint(want.baud), fmt.Sprint(want.stop), fmt.Sprint(want.rtscts)))
			app.wait(t)
			if got := first.Load(); got == nil || *got != want {
				t.Errorf("at the first byte the device had %+v, want %+v", got, want)
			}
		})
	}
}

// terminal runs a program on a pty, as a person uses it.
func terminal(t *testing.T, cmd *exec.Cmd) (*line, *process) {
	t.Helper()
	screen := newDevice(t)
	if err := unix.SetNonblock(screen.slave.fd, false); err != nil { // as a terminal is
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen.slave.File, screen.slave.File, screen.slave.File
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return screen.line, start(t, cmd)
}

// shows reads until a text has appeared.
func (l *line) shows(t *testing.T, text string) {
	t.Helper()
	var seen []byte
	buf := make([]byte, 4096)
	_ = l.SetReadDeadline(time.Now().Add(testenv.Patience)) // some programs redraw for ever
	for !bytes.Contains(seen, []byte(text)) {
		n, err := l.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			t.Fatalf("%v; got %q, want %q in it", err, seen, text)
		}
	}
}

func TestPicocom(t *testing.T) {
	t.Parallel()
	need(t, "picocom")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	screen, picocom := terminal(t, exec.Command("picocom", "--nolock", "-b", "19200", "-p", "2", a.path))
	screen.shows(t, "Terminal ready")
	exchange(t, screen, d.line, []byte("a person types"))
	if got, want := d.termios(t), (termios{baud: 19200, stop: 2}); got != want {
		t.Errorf("the device has %+v, want %+v", got, want)
	}
	if err := d.send([]byte("and the device answers")); err != nil {
		t.Fatal(err)
	}
	screen.shows(t, "and the device answers")
	if err := screen.send([]byte("\x01\x15")); err != nil { // C-a C-u: baud up, to 38400
		t.Fatal(err)
	}
	d.arrives(t, termios{baud: 38400, stop: 2})
	if err := screen.send([]byte("\x01\x18")); err != nil { // C-a C-x: leave
		t.Fatal(err)
	}
	screen.shows(t, "Thanks for using picocom")
	picocom.wait(t)
}

// stty has closed the port before the session is up; its settings still count.
func TestStty(t *testing.T) {
	t.Parallel()
	need(t, "stty")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	start(t, exec.Command("stty", "-F", a.path, "38400", "cstopb", "crtscts")).wait(t)
	d.arrives(t, termios{baud: 38400, stop: 2, rtscts: true})
	stty := start(t, exec.Command("stty", "-F", a.path))
	stty.wait(t)
	if got, want := stty.out.String(), "speed 38400 baud"; !strings.Contains(got, want) {
		t.Errorf("stty prints %q, want %q in it", got, want)
	}
}

func TestSocat(t *testing.T) {
	t.Parallel()
	need(t, "socat")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	want := noise('f', 1<<20)
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, want, 0o600); err != nil {
		t.Fatal(err)
	}

	// A change of rate waits until the bytes before it have left; at the first rate that would take long for a megabyte.
	socat := start(t, exec.Command("socat", "-u", "OPEN:"+from+",rdonly", "OPEN:"+a.path+",noctty,rawer,b4000000"))
	if err := d.expect(want); err != nil {
		t.Fatal(err)
	}
	socat.wait(t)

	socat = start(t, exec.Command("socat", "-u", "OPEN:"+a.path+",noctty,rawer,b38400", "CREATE:"+to))
	d.arrives(t, termios{baud: 38400, stop: 1})
	if err := d.send(want); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the whole file", func() bool {
		info, err := os.Stat(to)
		return err == nil && info.Size() >= int64(len(want))
	})
	socat.signal(t, syscall.SIGTERM)
	<-socat.done
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file is not what the device sent: %d bytes of %d, error %v", len(got), len(want), err)
	}
}

// compile builds one of testdata's C programs.
func compile(t *testing.T, name string) string {
	t.Helper()
	need(t, "gcc")
	file := filepath.Join(t.TempDir(), name)
	out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-o", file, "testdata/"+name+".c").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return file
}

// puppet is a program that carries out orders, a line each, and replies with a line.
type puppet struct {
	*process
	in    io.Writer     // orders
	lines *bufio.Reader // replies
}

func startPuppet(t *testing.T, cmd *exec.Cmd) *puppet {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &puppet{process: start(t, cmd), in: in, lines: bufio.NewReader(r)}
	_ = w.Close()
	_ = r.SetReadDeadline(time.Now().Add(2 * testenv.Patience))
	t.Cleanup(func() { _ = r.Close() })
	return p
}

func (p *puppet) do(t *testing.T, order string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, order); err != nil {
		t.Fatalf("%s: %v", order, err)
	}
}

func (p *puppet) replies(t *testing.T, want string) {
	t.Helper()
	got, err := p.lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("want %q: %v", want, err)
	}
	if strings.TrimSuffix(got, "\n") != want {
		t.Fatalf("the program replied %q, want %q\n%s", got, want, lastOf(p.out))
	}
}

// A program that fills in struct termios from zero clears flags that other programs keep.
func TestZeroedTermios(t *testing.T) {
	t.Parallel()
	program := compile(t, "zeroed")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	p := startPuppet(t, exec.Command(program, a.path))
	for _, baud := range []uint32{4800, 19200, 9600, 115200, 1200} {
		p.do(t, fmt.Sprint("baud ", baud))
		p.replies(t, "done")
		d.arrives(t, termios{baud: baud, stop: 1})
		p.do(t, "write hello")
		p.replies(t, "done")
		if err := d.expect([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	data := noise('z', 3000)
	if err := d.send(data); err != nil {
		t.Fatal(err)
	}
	p.do(t, fmt.Sprint("sum ", len(data)))
	sum := 0
	for _, b := range data {
		sum += int(b)
	}
	p.replies(t, fmt.Sprint(sum))
}

// A program that reads in canonical mode gets one line per read, with CR as NL, and all lines, however late it reads.
func TestCanonicalMode(t *testing.T) {
	t.Parallel()
	program := compile(t, "canonical")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	p := startPuppet(t, exec.Command(program, a.path))
	p.replies(t, "ready")
	d.arrives(t, termios{baud: 38400, stop: 1})

	const lines = 500
	var text bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&text, "line %03d of what the instrument measures\r", i)
	}
	sent := make(chan error, 1)
	go func() { sent <- d.send(text.Bytes()) }()
	eventually(t, "more than the line discipline holds has left the device", func() bool { return len(sent) == 1 })
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	p.do(t, "go")
	for i := range lines {
		p.replies(t, fmt.Sprintf("line %03d of what the instrument measures", i))
	}
	p.do(t, "speed 2400") // a change in canonical mode is detected too
	p.replies(t, "done")
	d.arrives(t, termios{baud: 2400, stop: 1})
}
