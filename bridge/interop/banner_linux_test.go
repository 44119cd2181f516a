package interop

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// TestBanner: ser2net sends its banner to each client, so in the middle of the stream too when a session is lost and
// made again. The program gets no byte of it, and the dropped bytes are logged; with --quirk keep-greeting it gets each
// banner.
func TestBanner(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(t *testing.T, s *server, d *device){
		"the server is killed and comes back": func(t *testing.T, s *server, _ *device) {
			s.kill()
			s.start()
		},
		"another client has kicked us": func(t *testing.T, s *server, _ *device) {
			other, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Close() })
			_ = other.SetDeadline(time.Now().Add(testenv.Patience))
			if _, err := other.Read(make([]byte, 1)); err != nil { // the server has accepted it
				t.Fatal(err)
			}
		},
	} {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kept %v", name, keep), func(t *testing.T) {
				t.Parallel()
				d := newDevice(t)
				s := startSer2netBanner(t, d)
				var flags []string
				if keep {
					flags = []string{"--quirk", "keep-greeting"}
				}
				a := s.attach(t, flags...)
				app := openSession(t, a, d)
				count := 1
				for ; count < 4; count++ {
					stop := d.talk()
					lost := len(a.losses(t))
					again(t, s, d)
					eventually(t, "the agent has noticed the loss", func() bool { return len(a.losses(t)) > lost })
					exchange(t, app, d.line, []byte("!")) // the session is up again
					stop()
				}
				if err := d.send([]byte("#")); err != nil {
					t.Fatal(err)
				}
				got := app.until(t, '#')
				text := bytes.Trim(got, "0123456789#")
				if n := bytes.Count(got, []byte(banner)); keep && n != count || !keep && len(text) > 0 {
					t.Errorf("after %d sessions the program has %d banners, and %.200q that is not from the device", count, n, text)
				}
				greeting := regexp.MustCompile(fmt.Sprintf(`level=INFO msg="access server's greeting dropped .* dropped=%d `, len(banner)))
				if n := len(greeting.FindAllString(a.out.String(), -1)); keep && n != 0 || !keep && n != 1 {
					t.Errorf("the log has %d lines about a dropped greeting, want one unless it is kept\n%s", n, lastOf(a.out))
				}
			})
		}
	}
}

// TestNoDevice: ser2net agrees to COM-PORT-OPTION before it reports that its device is missing. That is no session: the
// program gets no byte of the report, its own bytes wait, and the log has the reason once.
func TestNoDevice(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	gone := &device{path: filepath.Join(t.TempDir(), "tty")}
	s := startSer2netBanner(t, gone)
	a := s.attach(t)
	app := openPort(t, a)
	app.set(t, termios{baud: 115200, stop: 1})
	const why = "the access server cannot open its device"
	eventually(t, "the log says why", func() bool { return strings.Contains(a.out.String(), why) })
	if err := os.Symlink(d.path, gone.path); err != nil {
		t.Fatal(err)
	}
	exchange(t, app, d.line, []byte("!"))
	exchange(t, d.line, app, []byte("?"))
	if text := a.out.String(); strings.Count(text, why) != 1 || strings.Contains(text, "session lost") || strings.Contains(text, "session ended") {
		t.Errorf("want the reason once, and no end of a session that was never up\n%s", lastOf(a.out))
	}
}

// talk makes the device send digits until stop is called.
func (d *device) talk() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with done
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				_ = d.SetWriteDeadline(time.Now().Add(time.Millisecond)) // nothing may read it now
				_, _ = fmt.Fprint(d, i%10)
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// until reads up to and including a byte.
func (l *line) until(t *testing.T, last byte) []byte {
	t.Helper()
	var got []byte
	buf := make([]byte, 4096)
	for !strings.HasSuffix(string(got), string(last)) {
		_ = l.SetReadDeadline(time.Now().Add(testenv.Patience))
		n, err := l.Read(buf)
		if err != nil {
			t.Fatalf("%v after %.200q", err, got)
		}
		got = append(got, buf[:n]...)
	}
	return got
}
