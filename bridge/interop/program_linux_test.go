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

// echo lets the device send back what it gets. It returns what the device's termios was when the first byte came.
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
				t.Errorf("when the first byte came the device had %+v, want %+v", got, want)
			}
		})
	}
}

// terminal is a pty with a program on it, as a person would sit before it.
func terminal(t *testing.T, cmd *exec.Cmd) (*line, *process) {
	t.Helper()
	screen := newDevice(t)
	if err := unix.SetNonblock(screen.slave.fd, false); err != nil { // as a person's terminal is
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen.slave.File, screen.slave.File, screen.slave.File
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return screen.line, start(t, cmd)
}

// shows reads until text has appeared.
func (l *line) shows(t *testing.T, text string) {
	t.Helper()
	var seen []byte
	buf := make([]byte, 4096)
	_ = l.SetReadDeadline(time.Now().Add(testenv.Patience)) // some programs draw for ever
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

// stty has closed the port before the session stands: its settings count all the same.
func TestStty(t *testing.T) {
	t.Parallel()
	need(t, "stty")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	start(t, exec.Command("stty", "-F", a.path, "38400", "cstopb", "crtscts")).wait(t)
	d.arrives(t, termios{baud: 38400, stop: 2, rtscts: true})
	said := start(t, exec.Command("stty", "-F", a.path))
	said.wait(t)
	if got, want := said.out.String(), "speed 38400 baud"; !strings.Contains(got, want) {
		t.Errorf("stty says %q, want %q in it", got, want)
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

	// A change of rate waits for a megabyte before it as long as a line of the first rate needs for it.
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

// puppet is a program that does what it is told line by line, and answers.
type puppet struct {
	*process
	tell io.Writer
	said *bufio.Reader
}

func play(t *testing.T, cmd *exec.Cmd) *puppet {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	tell, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &puppet{process: start(t, cmd), tell: tell, said: bufio.NewReader(r)}
	_ = w.Close()
	_ = r.SetReadDeadline(time.Now().Add(2 * testenv.Patience))
	t.Cleanup(func() { _ = r.Close() })
	return p
}

func (p *puppet) do(t *testing.T, order string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.tell, order); err != nil {
		t.Fatalf("%s: %v", order, err)
	}
}

func (p *puppet) says(t *testing.T, want string) {
	t.Helper()
	got, err := p.said.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("want %q: %v", want, err)
	}
	if strings.TrimSuffix(got, "\n") != want {
		t.Fatalf("the program says %q, want %q\n%s", got, want, lastOf(p.out))
	}
}

// A program that fills in struct termios from nothing clears what other programs leave alone.
func TestZeroedTermios(t *testing.T) {
	t.Parallel()
	program := compile(t, "zeroed")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	p := play(t, exec.Command(program, a.path))
	for _, baud := range []uint32{4800, 19200, 9600, 115200, 1200} {
		p.do(t, fmt.Sprint("baud ", baud))
		p.says(t, "done")
		d.arrives(t, termios{baud: baud, stop: 1})
		p.do(t, "write hello")
		p.says(t, "done")
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
	p.says(t, fmt.Sprint(sum))
}

// A program that reads in canonical mode gets lines, each by one read, CR as NL, and all of them, however late it
// comes to read.
func TestCanonicalMode(t *testing.T) {
	t.Parallel()
	program := compile(t, "canonical")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	p := play(t, exec.Command(program, a.path))
	p.says(t, "ready")
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
		p.says(t, fmt.Sprintf("line %03d of what the instrument measures", i))
	}
	p.do(t, "speed 2400") // a change in canonical mode is seen too
	p.says(t, "done")
	d.arrives(t, termios{baud: 2400, stop: 1})
}
