package accessserver_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// inTime is 15 s and a reserve for a busy machine.
const inTime = 45 * time.Second

// far is a running access server, everything that its UART did and everything that it logged.
type far struct {
	t    *testing.T
	addr string // where it listens
	dial func() net.Conn
	end  func() // stops the server and waits for it; may be called again

	mu      sync.Mutex
	records []string // of the UART; bytes in a row at one coding are one record
	log     bytes.Buffer
}

// serve starts a server with a simulated UART on l, until the test ends.
func serve(t *testing.T, l net.Listener, dial func() net.Conn, inject ...simulate.Injection) *far {
	f := &far{t: t, dial: dial}
	device := &simulate.Loopback{Inject: inject}
	device.Observe(f.observe)
	return f.start(l, device.Open)
}

func (f *far) start(l net.Listener, open func(context.Context) (uart.Device, error)) *far {
	return f.startWith(l, accessserver.Config{Open: open})
}

func (f *far) startWith(l net.Listener, config accessserver.Config) *far {
	ctx, cancel := context.WithCancel(context.Background())
	f.addr = l.Addr().String()
	config.Signature = "the far end"
	config.Log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := accessserver.New(config)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	f.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("serve: %v", err)
		}
	})
	f.t.Cleanup(func() {
		f.end()
		if f.t.Failed() {
			f.t.Logf("the server's log:\n%s", f.logged())
		}
	})
	return f
}

// listen returns a listener on the loopback interface.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// overTCP starts a server on the loopback interface.
func overTCP(t *testing.T, inject ...simulate.Injection) *far {
	t.Helper()
	l := listen(t)
	return serve(t, l, dialTCP(t, l), inject...)
}

func dialTCP(t *testing.T, l net.Listener) func() net.Conn {
	return func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

// inMemory starts a server inside a synctest bubble. The test ends it.
func inMemory(t *testing.T, inject ...simulate.Injection) *far {
	l := newMemory()
	return serve(t, l, l.dial, inject...)
}

// Write collects the log.
func (f *far) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

func (f *far) logged() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

// awaitLog waits until the log has a line with all of the words.
func (f *far) awaitLog(words ...string) {
	f.t.Helper()
	devicetest.Eventually(f.t, "in the log: "+strings.Join(words, ", "), func() bool {
		for line := range strings.Lines(f.logged()) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
		return false
	})
}

func (f *far) observe(r simulate.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Event.Kind != uart.KindData {
		f.records = append(f.records, r.Event.String())
		return
	}
	head := r.Coding.String() + ": "
	if n := len(f.records) - 1; n >= 0 && strings.HasPrefix(f.records[n], head) {
		f.records[n] += string(r.Data)
		return
	}
	f.records = append(f.records, head+string(r.Data))
}

func (f *far) did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.records)
}

// does waits until the UART has done this.
func (f *far) does(want string) {
	f.t.Helper()
	devicetest.Eventually(f.t, fmt.Sprintf("the UART does %.100q", want), func() bool { return slices.Contains(f.did(), want) })
}

// near is a client's session and everything that it received.
type near struct {
	*rfc2217.Client
	t    *testing.T
	over chan struct{} // Next has returned an error

	mu   sync.Mutex
	came []string // consecutive bytes are one entry
	err  error    // of Next
}

// connect opens a session and reads it to its end.
func (f *far) connect(config rfc2217.Config) *near {
	f.t.Helper()
	c, err := rfc2217.Open(f.t.Context(), f.dial(), config)
	if err != nil {
		f.t.Fatal(err)
	}
	n := &near{Client: c, t: f.t, over: make(chan struct{})}
	go n.read()
	f.t.Cleanup(n.end)
	return n
}

func (n *near) read() {
	defer close(n.over)
	data := false
	for {
		p, e, err := n.Next()
		n.mu.Lock()
		if err != nil {
			n.err = err
			n.mu.Unlock()
			return
		}
		switch {
		case e.Kind != uart.KindData:
			n.came = append(n.came, e.String())
		case data:
			n.came[len(n.came)-1] += string(p)
		default:
			n.came = append(n.came, string(p))
		}
		data = e.Kind == uart.KindData
		n.mu.Unlock()
	}
}

func (n *near) seen() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.came)
}

// sees waits until the client has received this.
func (n *near) sees(want string) {
	n.t.Helper()
	devicetest.Eventually(n.t, fmt.Sprintf("the client sees %.100q", want), func() bool { return slices.Contains(n.seen(), want) })
}

func (n *near) send(p string) {
	n.t.Helper()
	if err := writeAll(n.Client, []byte(p)); err != nil {
		n.t.Fatal(err)
	}
}

// writeAll writes all of p. One Write may take only a part.
func writeAll(c *rfc2217.Client, p []byte) error {
	for len(p) > 0 {
		n, err := c.Write(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (n *near) set(e uart.Event) {
	n.t.Helper()
	e.Kind = uart.KindSettings
	if err := n.Apply(e); err != nil {
		n.t.Fatal(err)
	}
}

// end closes the session and waits for its reader.
func (n *near) end() {
	_ = n.Close()
	<-n.over
}

// caller is a client that sends and receives the protocol itself, as the RFC writes it.
type caller struct {
	net.Conn
	t       *testing.T
	decoder telnet.Decoder
	rest    []byte
	pending telnet.Message // a command whose data before it was returned first
	buf     [4096]byte
}

// call connects, negotiates COM-PORT-OPTION, and receives the first modem state.
func (f *far) call() *caller {
	f.t.Helper()
	c := &caller{Conn: f.dial(), t: f.t}
	c.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	c.hears(rfc2217.NotifyModemState, 0)
	return c
}

func (c *caller) say(p []byte) {
	c.t.Helper()
	if _, err := c.Write(p); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a command: code and value.
func (c *caller) ask(code rfc2217.Code, value ...byte) {
	c.t.Helper()
	c.say(telnet.AppendSub(nil, telnet.ComPort, append([]byte{byte(code)}, value...)))
}

// next returns the next thing from the server: bytes, or a command.
func (c *caller) next() (data []byte, m telnet.Message, err error) {
	return c.nextUntil(time.Now().Add(testenv.Patience))
}

func (c *caller) nextUntil(until time.Time) (data []byte, m telnet.Message, err error) {
	if m = c.pending; m.Command != 0 {
		c.pending = telnet.Message{}
		return nil, m, nil
	}
	for {
		if len(c.rest) == 0 {
			_ = c.SetReadDeadline(until)
			n, err := c.Read(c.buf[:])
			if err != nil {
				return nil, m, err
			}
			c.rest = c.buf[:n]
		}
		data, m, c.rest = c.decoder.Decode(c.rest)
		if len(data) > 0 {
			c.pending = m
			return data, telnet.Message{}, nil
		}
		if m.Command != 0 {
			return nil, m, nil
		}
	}
}

// hears reads the next COM-PORT-OPTION command, which must be the server's answer to code with this value. Other Telnet commands
// before it are ignored.
func (c *caller) hears(code rfc2217.Code, value ...byte) {
	c.t.Helper()
	for {
		data, m, err := c.next()
		switch {
		case err != nil:
			c.t.Fatalf("want the answer to %v: %v", code, err)
		case len(data) > 0:
			c.t.Fatalf("want the answer to %v, got data %q", code, data)
		case m.Command.Verb():
			continue
		}
		want := append([]byte{byte(code + rfc2217.FromServer)}, value...)
		if m.Command != telnet.SB || m.Option != telnet.ComPort || !bytes.Equal(m.Sub, want) {
			c.t.Fatalf("answer to %v: got %v %v % x, want % x", code, m.Command, m.Option, m.Sub, want)
		}
		return
	}
}
