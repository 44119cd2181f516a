package interop

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// server is a real access server for a device. It can be killed and started again on the same TCP port.
type server struct {
	t       *testing.T
	port    int
	network *network // where it listens; nil: this machine's loopback
	scheme  string   // of its URL; empty: rfc2217
	flags   []string // that its clients need
	command func() *exec.Cmd
	*process
}

// kind is a sort of access server.
type kind struct {
	name  string
	start func(t *testing.T, d *device) *server
	deaf  bool // it applies no settings
	piece int  // it loses device bytes if more than this many come at once; 0: no limit
}

// servers are the two that support everything that a pty can show.
var servers = []kind{
	{name: "ser2net", start: startSer2net},
	{name: "pyserial", start: startPyserial},
}

// more are other servers in use, and other ways to run ser2net.
var more = []kind{
	{name: "ser2net with TLS", start: startSer2netTLS},
	{name: "ser2net with kickolduser and a banner", start: startSer2netBanner},
	// Its buffer has 2048 bytes, 0xFF takes two, and it has no flow control towards the device, so it drops bytes.
	{name: "sredird", start: startSredird, piece: 1000},
	{name: "gensiot", start: startGensiot, deaf: true},
	{name: "serve", start: startServeDevice},
}

// each runs a test with each of servers.
func each(t *testing.T, f func(t *testing.T, k kind)) { against(t, servers, f) }

// every runs a test with each of servers and more.
func every(t *testing.T, f func(t *testing.T, k kind)) { against(t, slices.Concat(servers, more), f) }

func against(t *testing.T, kinds []kind, f func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			f(t, k)
		})
	}
}

func startSer2net(t *testing.T, d *device) *server {
	t.Helper()
	return ser2net(t, d, "telnet(rfc2217),tcp")
}

// banner is the text that ser2net sends to each client. It has a character that Telnet must double.
const banner = "serial port of a test \xff\r\n"

func startSer2netBanner(t *testing.T, d *device) *server {
	t.Helper()
	return ser2net(t, d, "telnet(rfc2217),tcp", "kickolduser: true", `banner: "serial port of a test \\xff\\r\\n"`)
}

// ser2net starts a ser2net with an accepter, up to its address, and options.
func ser2net(t *testing.T, d *device, accepter string, options ...string) *server {
	t.Helper()
	return ser2netIn(t, nil, d, accepter, options...)
}

func ser2netIn(t *testing.T, n *network, d *device, accepter string, options ...string) *server {
	t.Helper()
	need(t, "ser2net")
	s := &server{t: t, port: freePort(t), network: n}
	config := filepath.Join(t.TempDir(), "ser2net.yaml")
	var text strings.Builder
	fmt.Fprintf(&text, "connection: &port\n    accepter: %s,%s,%d\n    connector: serialdev,%s,9600n81,local\n", accepter, s.host(), s.port, d.path)
	if len(options) > 0 {
		fmt.Fprintf(&text, "    options:\n        %s\n", strings.Join(options, "\n        "))
	}
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.command = func() *exec.Cmd { return n.atServer(exec.Command(sbin("ser2net"), "-n", "-d", "-c", config)) }
	s.start()
	return s
}

// sbin returns the path of a program that may not be on a user's path.
func sbin(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// sredird is made for inetd; here socat starts a sredird for each client.
func startSredird(t *testing.T, d *device) *server {
	t.Helper()
	need(t, "sredird", "socat")
	s := &server{t: t, port: freePort(t)}
	lock := filepath.Join(t.TempDir(), "lock")
	s.command = func() *exec.Cmd {
		cmd := exec.Command("socat", fmt.Sprintf("TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork", s.port),
			fmt.Sprintf("EXEC:%s 0 %s %s,nofork", sbin("sredird"), d.path, lock))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}
	s.start()
	return s
}

// gensiot agrees to COM-PORT-OPTION and answers no command.
func startGensiot(t *testing.T, d *device) *server {
	t.Helper()
	need(t, "gensiot")
	s := &server{t: t, port: freePort(t)}
	s.command = func() *exec.Cmd {
		return exec.Command("gensiot", "--server", "--accepter", "--input", "serialdev,"+d.path+",9600n81,local",
			fmt.Sprintf("telnet(rfc2217),tcp,127.0.0.1,%d", s.port))
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

// start starts the server and waits until it listens. It checks the kernel's table instead of dialling: a server for
// one client would take the dial for its client.
func (s *server) start() {
	s.t.Helper()
	s.process = start(s.t, s.command())
	eventually(s.t, "the server listens", func() bool {
		if s.ended() {
			s.t.Fatalf("%s ended: %v\n%s", s.cmd, s.err, lastOf(s.out))
		}
		return len(s.sockets(listening)) > 0
	})
}

func (s *server) url() string {
	return fmt.Sprintf("%s://%s:%d", cmp.Or(s.scheme, "rfc2217"), s.host(), s.port)
}

func (s *server) host() string {
	if s.network != nil {
		return serverAddress
	}
	return "127.0.0.1"
}

// attach starts an agent for this server.
func (s *server) attach(t *testing.T, flags ...string) *agent {
	t.Helper()
	return attach(t, s.url(), slices.Concat(s.flags, flags)...)
}

// sessions returns the connections of this server, as the clients' addresses.
func (s *server) sessions() []string { return s.sockets(established) }

const (
	established = "01" // TCP_ESTABLISHED in /proc/net/tcp
	listening   = "0A" // TCP_LISTEN
)

// sockets lists the remote addresses of the sockets in this state whose local address is the server's.
func (s *server) sockets(state string) []string {
	s.t.Helper()
	table := "/proc/thread-self/net/tcp" // not /proc/net: that is the first thread's, which may be in a test's namespace now
	if s.network != nil {
		table = fmt.Sprintf("/proc/%d/net/tcp", s.cmd.Process.Pid) // of its namespace
	}
	text, err := os.ReadFile(table)
	if err != nil {
		s.t.Fatal(err)
	}
	a := netip.MustParseAddr(s.host()).As4()
	own := fmt.Sprintf("%02X%02X%02X%02X:%04X", a[3], a[2], a[1], a[0], s.port)
	var others []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == own && f[3] == state {
			others = append(others, f[2])
		}
	}
	slices.Sort(others)
	return slices.Compact(others) // the kernel's table may list a socket twice while others come and go
}

// freePort finds a free TCP port below the ephemeral range: a client that dials a port in that range while nothing
// listens can end up connected to itself.
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

// proxy relays to a server and counts connections.
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

// join relays between a client and the server until either has closed.
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
