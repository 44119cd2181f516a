//go:build unix

package accessserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// Crowds of hostile or clumsy clients. None of them leaves by itself, and a real client gets the device all the same.

const (
	// crowdMost is how much memory a crowd may cost: 32 waiting connections, each with a read buffer (32 KiB) and pending
	// answers (64 KiB), and both ends of a thousand sockets, because the crowd is in this process too. watcherMost is what a
	// watcher may cost in addition.
	crowdMost, watcherMost = 8 << 20, 256 << 10
	// tripMost is how long a round trip through the loopback plug may take. That of a watcher never ends.
	tripMost = 20 * time.Second
	// waitMost is longer than a client may wait for a device that is in use: 2 s, and a second to read the refusal.
	waitMost = 4 * time.Second
	// linesMost is how many log lines a minute are allowed besides the two lines of each real client and watcher. No crowd
	// lasts longer than a minute.
	linesMost = 10
)

// crowd is many clients of one server.
type crowd struct {
	t       *testing.T
	at      string
	over    context.Context // done: the crowd leaves
	disband context.CancelFunc
	clients sync.WaitGroup
	came    atomic.Int64 // connections that were made
	reals   int          // real clients
	watch   int          // how many may watch
	base    uint64

	mu  sync.Mutex
	log bytes.Buffer
}

// Write collects the log.
func (c *crowd) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

func (c *crowd) logged() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// newCrowd starts a server with a loopback plug, until the test ends, and a crowd without a client.
func newCrowd(t *testing.T, watchers int) *crowd {
	t.Helper()
	l := listen(t)
	c := &crowd{t: t, at: l.Addr().String(), watch: watchers, base: live()}
	plug := &simulate.Loopback{}
	s := accessserver.New(accessserver.Config{Open: plug.Open, Watchers: watchers, Log: slog.New(slog.NewTextHandler(c, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	c.over, c.disband = context.WithCancel(context.Background())
	t.Cleanup(func() {
		c.leave()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%.4000s", c.logged())
		}
	})
	return c
}

// leave ends the crowd, and waits for it.
func (c *crowd) leave() {
	c.disband()
	c.clients.Wait()
}

// live returns how much memory is in use.
func live() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// come starts n clients that behave like this. Each connects again while behave returns true, and leaves with the crowd.
func (c *crowd) come(n int, behave func(conn net.Conn) (again bool)) {
	for range n {
		c.clients.Go(func() {
			for again := true; again && c.over.Err() == nil; {
				again = c.one(behave)
			}
		})
	}
}

func (c *crowd) one(behave func(conn net.Conn) bool) bool {
	var d net.Dialer
	conn, err := d.DialContext(c.over, "tcp", c.at)
	if err != nil {
		return false
	}
	c.came.Add(1)
	stop := context.AfterFunc(c.over, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	return behave(conn)
}

// What the clients do.

// stays sends nothing, and keeps its end open whatever the server does.
func (c *crowd) stays(net.Conn) bool {
	<-c.over.Done()
	return false
}

// checks sends nothing, and connects again as soon as it was refused, as a monitor of open ports may do.
func (c *crowd) checks(conn net.Conn) bool {
	_, _ = io.Copy(io.Discard, conn)
	return c.pause(100 * time.Millisecond)
}

// scans sends something that is not Telnet, or nothing, and leaves at once.
func (c *crowd) scans(conn net.Conn) bool {
	words := []string{"", "GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "SSH-2.0-scan\r\n", "\xff\xfb\x01", "\x00"}
	_, _ = io.WriteString(conn, words[int(c.came.Load())%len(words)])
	return c.pause(20 * time.Millisecond)
}

// returns negotiates, leaves, and connects again.
func (c *crowd) returns(conn net.Conn) bool {
	_, _ = conn.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	_, _ = conn.Read(make([]byte, 100))
	return c.pause(20 * time.Millisecond)
}

// halfCloses closes its half at once.
func (c *crowd) halfCloses(conn net.Conn) bool {
	_ = conn.(*net.TCPConn).CloseWrite()
	<-c.over.Done()
	return false
}

// agrees negotiates COM-PORT-OPTION, and never reads.
func (c *crowd) agrees(conn net.Conn) bool {
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	_, _ = conn.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	<-c.over.Done()
	return false
}

// floods negotiates, and sends the same over and over until it has sent 1 MiB or the server stops reading. reads: it reads too.
func (c *crowd) floods(p []byte, reads bool, done chan<- string) func(net.Conn) bool {
	return func(conn net.Conn) bool {
		_ = conn.(*net.TCPConn).SetWriteBuffer(32 << 10) // so that what is written has almost all been received
		if reads {
			c.clients.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		}
		_, err := conn.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
		many, sent := bytes.Repeat(p, max(1, 16<<10/len(p))), 0
		for err == nil && sent < 1<<20 {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			var n int
			n, err = conn.Write(many)
			sent += n
		}
		done <- fmt.Sprintf("%d bytes, %v", sent, err)
		if !reads || err != nil {
			return false
		}
		<-c.over.Done()
		return false
	}
}

func (c *crowd) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
	case <-c.over.Done():
	}
	return true
}

// real is a client like attach: it dials until it has a device that works. It returns how long that took.
func (c *crowd) real() (uart.Session, time.Duration) {
	c.t.Helper()
	url, err := remote.Parse("rfc2217://" + c.at)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := remote.New(url, remote.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.reals++
	ctx, cancel := context.WithTimeout(context.Background(), testenv.Patience)
	defer cancel()
	began := time.Now()
	for {
		s, err := r.Dial(ctx, 0)
		switch {
		case err == nil && c.works(s):
			return s, time.Since(began)
		case err == nil:
			_ = s.Close()
		}
		if ctx.Err() != nil {
			c.t.Fatalf("the real client has no device after %v: %v", time.Since(began), err)
		}
		time.Sleep(100 * time.Millisecond) // as a bridge does after a failure
	}
}

// works reports whether something sent to the loopback plug comes back.
func (c *crowd) works(s uart.Session) bool {
	if err := s.Apply(uart.Event{Kind: uart.KindSettings, Coding: fast.Coding}); err != nil {
		return false
	}
	return trip(s, "mine") == nil
}

// trip sends a word to the loopback plug and waits for it to come back.
func trip(s uart.Session, word string) error {
	late := time.AfterFunc(tripMost, func() { _ = s.Close() })
	defer late.Stop()
	if _, err := s.Write([]byte(word)); err != nil {
		return err
	}
	for got := ""; ; {
		p, _, err := s.Next()
		if err != nil {
			return err
		}
		if got += string(p); strings.HasSuffix(got, word) {
			return nil
		}
	}
}

// must checks what a crowd costs.
func (c *crowd) must(took time.Duration) {
	c.t.Helper()
	if took > inTime {
		c.t.Errorf("the real client had the device after %v", took)
	}
	kept := c.memory()
	lines := c.lines()
	if most := linesMost + 2*(c.reals+c.watch); lines > most {
		c.t.Errorf("log: %d lines, %d are the most", lines, most)
	}
	c.t.Logf("%d connections; the real client had the device after %v; %d KiB more in use; %d log lines",
		c.came.Load(), took.Round(time.Millisecond), kept>>10, lines)
}

// memory checks how much more is in use than before the crowd came. If it is too much it checks again, because memory that is
// used only for a moment does not count.
func (c *crowd) memory() int64 {
	c.t.Helper()
	now, most := live(), c.base+crowdMost+uint64(c.watch)*watcherMost
	for end := time.Now().Add(5 * time.Second); now > most && time.Now().Before(end); now = live() {
		time.Sleep(50 * time.Millisecond)
	}
	if now > most {
		c.t.Errorf("memory: %d KiB more are in use, %d are the most", (now-c.base)>>10, (most-c.base)>>10)
	}
	return int64(now) - int64(c.base)
}

// lines returns the number of lines in the log.
func (c *crowd) lines() int { return strings.Count(c.logged(), "\n") }

// settled waits until n clients have connected.
func (c *crowd) settled(n int64) {
	c.t.Helper()
	devicetest.Eventually(c.t, "the crowd has come", func() bool { return c.came.Load() >= n })
}
