package interop

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// server is a real access server in front of a device. It can be killed and started again on the same TCP port.
type server struct {
	t       *testing.T
	port    int
	command func() *exec.Cmd
	*process
}

// kind is a sort of access server.
type kind struct {
	name  string
	start func(t *testing.T, d *device) *server
}

var servers = []kind{{"ser2net", startSer2net}, {"pyserial", startPyserial}}

// each runs a test against each server.
func each(t *testing.T, f func(t *testing.T, k kind)) {
	for _, k := range servers {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			f(t, k)
		})
	}
}

func startSer2net(t *testing.T, d *device) *server {
	t.Helper()
	need(t, "ser2net")
	s := &server{t: t, port: freePort(t)}
	config := filepath.Join(t.TempDir(), "ser2net.yaml")
	text := fmt.Sprintf("connection: &port\n    accepter: telnet(rfc2217),tcp,127.0.0.1,%d\n    connector: serialdev,%s,9600n81,local\n", s.port, d.path)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.command = func() *exec.Cmd {
		name, err := exec.LookPath("ser2net")
		if err != nil {
			name = "/usr/sbin/ser2net" // not on a user's path
		}
		return exec.Command(name, "-n", "-d", "-c", config)
	}
	s.start()
	return s
}

func startPyserial(t *testing.T, d *device) *server {
	t.Helper()
	need(t, "python3-serial")
	s := &server{t: t, port: freePort(t)}
	s.command = func() *exec.Cmd {
		return exec.Command("/usr/bin/python3", "testdata/rfc2217_server.py", d.path, fmt.Sprint(s.port))
	}
	s.start()
	return s
}

// start runs the server and waits until it listens. It looks and does not dial: a server for one client would take the
// look for the client.
func (s *server) start() {
	s.t.Helper()
	s.process = start(s.t, s.command())
	eventually(s.t, "the server listens", func() bool {
		if s.ended() {
			s.t.Fatalf("%s ended: %v\n%s", s.cmd, s.err, s.out.tail())
		}
		return len(sockets(s.t, s.port, listening)) > 0
	})
}

func (s *server) url() string { return fmt.Sprintf("rfc2217://127.0.0.1:%d", s.port) }

// sessions names the connections that this server has, each by the client's TCP port.
func (s *server) sessions() []string { return sockets(s.t, s.port, established) }

const (
	established = "01" // TCP_ESTABLISHED in /proc/net/tcp
	listening   = "0A" // TCP_LISTEN
)

// sockets lists the other end of the sockets that have 127.0.0.1:port as their own and are in this state.
func sockets(t *testing.T, port int, state string) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("0100007F:%04X", port)
	var others []string
	for row := range strings.Lines(string(table)) {
		if f := strings.Fields(row); len(f) > 3 && f[1] == own && f[3] == state {
			others = append(others, f[2])
		}
	}
	return others
}

// freePort finds a TCP port that nobody has, below those that the kernel gives to clients: a client that dials a port
// of its own range while nobody listens there can end up connected with itself.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no TCP port is free between 20000 and 30000")
	return 0
}

// proxy stands before a server and counts who comes.
type proxy struct {
	net.Listener
	accepted atomic.Int64
}

func newProxy(t *testing.T, s *server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			p.accepted.Add(1)
			go join(c, fmt.Sprintf("127.0.0.1:%d", s.port))
		}
	}()
	return p
}

func (p *proxy) url() string { return "rfc2217://" + p.Addr().String() }

// join carries bytes between a client and the server until either has closed.
func join(c net.Conn, address string) {
	defer func() { _ = c.Close() }()
	far, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	go func() {
		_, _ = io.Copy(far, c)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, far)
}
