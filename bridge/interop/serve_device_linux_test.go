package interop

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// startServeDevice starts our own access server for a device.
func startServeDevice(t *testing.T, d *device) *server {
	t.Helper()
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, port: freePort(t)}
	s.command = func() *exec.Cmd {
		return exec.Command(program, "serve", "-v", "--listen", fmt.Sprintf("127.0.0.1:%d", s.port), d.path)
	}
	s.start()
	return s
}

// pyserial as the client of a port without modem lines: it sets the port, and the server replies with the settings in
// force.
func TestServeDevicePyserial(t *testing.T) {
	t.Parallel()
	need(t, "python3-serial")
	d := newDevice(t)
	s := startServeDevice(t, d)
	first := d.echo(t)
	start(t, exec.Command("/usr/bin/python3", "testdata/rfc2217_device.py", s.url())).wait(t)
	if got, want := first.Load(), (termios{baud: 31250, stop: 2}); got == nil || *got != want {
		t.Errorf("at the first byte the device had %+v, want %+v", got, want)
	}
	s.logs("client left")
	s.finish()
}

// gensiot as the client: what a person types goes to the device, and its reply comes back.
func TestServeDeviceGensiot(t *testing.T) {
	t.Parallel()
	need(t, "gensiot")
	d := newDevice(t)
	s := startServeDevice(t, d)
	cmd := exec.Command("gensiot", fmt.Sprintf("telnet(rfc2217=true),tcp,127.0.0.1,%d", s.port))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	gensiot := start(t, cmd)
	if _, err := io.WriteString(in, "typed\xff\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := d.expect([]byte("typed\xff\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := d.send([]byte("answered\xff")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "gensiot shows the reply", func() bool { return strings.Contains(gensiot.out.String(), "answered\xff") })
	_ = in.Close()
	s.logs("client left", "up=8", "down=9")
	s.finish()
}

// A client that sends raw bytes is detected by its first byte: one log line says what to do, and no byte of it reaches the
// device.
func TestServeDeviceRawBytes(t *testing.T) {
	t.Parallel()
	need(t, "socat")
	d := newDevice(t)
	s := startServeDevice(t, d)
	cmd := exec.Command("socat", "-", fmt.Sprintf("TCP:127.0.0.1:%d", s.port))
	cmd.Stdin = strings.NewReader("M105\n")
	start(t, cmd).wait(t)
	s.logs("WARN", `sent="\"M105\\n\""`, "this port speaks RFC 2217: telnetcpc attach PORT "+s.url())
	a := attach(t, s.url())
	exchange(t, openPort(t, a), d.line, []byte("first"))
	if n := strings.Count(s.out.String(), "refused"); n != 1 {
		t.Errorf("lines about the raw client: got %d, want 1\n%s", n, lastOf(s.out))
	}
}

// On a pty the agent computes when the line is empty, but the server's TEMT ends the wait at a close: the next session
// comes at once.
func TestServeDeviceReopens(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startServeDevice(t, d)
	a := attach(t, s.url(), "--linger", "10ms")
	for i := range 5 {
		app := openPort(t, a)
		app.set(t, termios{baud: uint32(9600 * (i + 1)), stop: 1})
		exchange(t, app, d.line, noise(byte(i), 2000))
		_ = app.Close()
	}
	s.logs("client left")
}

// zmodem moves a file from a program at our port to one at the server's, and the other way. Each direction has a line
// of its own: rz sends its last frame up to three times, and a second rz on the line would take it for the end of its
// own session.
func TestServeDeviceZmodem(t *testing.T) {
	t.Parallel()
	need(t, "lrzsz")
	for _, direction := range []string{"up", "down"} {
		t.Run(direction, func(t *testing.T) {
			d := newDevice(t)
			app := openPort(t, attach(t, startServeDevice(t, d).url()))
			app.set(t, termios{baud: 4_000_000, stop: 1}) // the agent's end waits as long as the line needs for the file
			from, to := app, d.line
			if direction == "down" {
				from, to = to, from
			}
			want := append(awkward(), noise('z', 300_000)...)
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, want, 0o600); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			receive := exec.Command("rz", "--binary", "--overwrite")
			receive.Dir = dir
			rz := modem(t, receive, to)
			modem(t, exec.Command("sz", "--binary", "--escape", file), from).wait(t)
			rz.wait(t)
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			if err != nil || string(got) != string(want) {
				t.Errorf("the file: got %d bytes, %v, want %d", len(got), err, len(want))
			}
		})
	}
}

// modem runs a program with a line as its standard input and output, through pipes: on the line itself it would change the
// settings for the other end.
func modem(t *testing.T, cmd *exec.Cmd, l *line) *process {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	_ = l.SetDeadline(time.Time{})
	p := start(t, cmd)
	_ = w.Close()
	fed, drained := make(chan struct{}), make(chan struct{})
	go func() { // ends by the deadline below
		defer close(fed)
		_, _ = io.Copy(in, l)
	}()
	go func() { // ends with the program, or by the deadline below
		defer close(drained)
		_, _ = io.Copy(l, out)
	}()
	t.Cleanup(func() {
		p.kill()
		_ = l.SetWriteDeadline(time.Now())
		<-drained
		_ = l.SetReadDeadline(time.Now())
		<-fed
		_ = in.Close()
		_ = out.Close()
	})
	return p
}
