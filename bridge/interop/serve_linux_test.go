package interop

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"telnetcpc/bridge/testenv"
)

// startServe starts our own access server with a simulated UART, which is a loop plug.
func startServe(t *testing.T, flags ...string) *server {
	t.Helper()
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, port: freePort(t)}
	s.command = func() *exec.Cmd {
		args := []string{"serve", "-v", "--simulate", "loopback", "--listen", fmt.Sprintf("127.0.0.1:%d", s.port)}
		return exec.Command(program, append(args, flags...)...)
	}
	s.start()
	return s
}

// logs waits until the server has logged a line with all of the words.
func (s *server) logs(words ...string) {
	s.t.Helper()
	eventually(s.t, "the server logs "+strings.Join(words, ", "), func() bool {
		for line := range strings.Lines(s.out.String()) {
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

// finish ends the server as Ctrl-C does.
func (s *server) finish() {
	s.t.Helper()
	s.signal(s.t, syscall.SIGINT)
	s.wait(s.t)
	if log := s.out.String(); strings.Contains(log, "DATA RACE") {
		s.t.Errorf("the server has a data race:\n%s", log)
	}
}

// pyserial as the client of our access server: everything that it can set.
func TestServePyserial(t *testing.T) {
	t.Parallel()
	need(t, "python3-serial")
	s := startServe(t)
	start(t, exec.Command("/usr/bin/python3", "testdata/rfc2217_client.py", s.url())).wait(t)
	s.logs(`coding="19200 7E2"`)
	s.logs("settings", `lines="DTR off RTS on break off"`)
	s.logs(`asked="break on"`)
	s.logs(`asked="break off"`)
	s.logs(`msg="purge rx"`)
	s.logs(`msg="purge tx"`)
	s.logs(`coding="115200 8N1"`, "flow=rtscts")
	s.logs(`coding="1200 8N1"`, "flow=none")
	s.logs("client left", fmt.Sprintf("up=%d", 1+12+256*4+1000+14+10))
	s.finish()
}

// Our own client and server: settings and bytes arrive, the echo comes back, and a restart of the server gives a new
// session.
func TestServeAndAttach(t *testing.T) {
	t.Parallel()
	s := startServe(t)
	a := attach(t, s.url(), "--linger", "100ms")
	app := openPort(t, a)
	app.set(t, termios{baud: 115200, stop: 2, rtscts: true})
	p := noise('e', 20_000)
	both(t,
		func() error { return app.send(p) },
		func() error { return app.expect(p) })
	s.logs("settings", `coding="115200 8N2"`, "flow=rtscts")

	s.kill()
	s.start()
	exchange(t, app, app, []byte("once more"))
	s.logs("settings", `coding="115200 8N2"`, "flow=rtscts")
	s.finish()
}

// `cat file > PORT` on a slow line: everything is sent before the far UART is closed.
func TestServeAndCat(t *testing.T) {
	t.Parallel()
	s := startServe(t)
	a := attach(t, s.url(), "--linger", "100ms", "--baud", "19200")
	const size = 6000
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, noise('c', size), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command("sh", "-c", `cat "$0" > "$1"`, file, a.path)).wait(t)
	s.logs("client left", fmt.Sprintf("up=%d", size))
	if log := s.out.String(); strings.Contains(log, "not sent") {
		t.Errorf("bytes were not sent:\n%s", log)
	}
	s.finish()
}
