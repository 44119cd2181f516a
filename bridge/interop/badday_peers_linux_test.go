package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// What a server sends to agree to COM-PORT-OPTION: DO COM-PORT. The client sends TIMING-MARK only to servers that also
// negotiate BINARY.
const (
	agrees = "\xff\xfd\x2c"
	speaks = "\xff\xfb\x00\xff\xfd\x2c"
	asks   = "\xff\xfd\x06" // DO TIMING-MARK
)

// silent is the handler of a server that sends a text and never reads.
func silent(text string) handler {
	return func(f *far, c *net.TCPConn) {
		_, _ = c.Write([]byte(text))
		<-f.over
	}
}

// pushes sends until the peer no longer reads, closes full, and goes on.
func pushes(c *net.TCPConn, full chan<- struct{}) {
	for p, closed := make([]byte, 64<<10), false; ; {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, err := c.Write(p)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !closed:
			closed = true
			close(full)
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return
		}
	}
}

// fullConnection starts an agent whose session is agreed when the connection to the server is already full of answers
// that the server has asked for and does not read: every write to it blocks.
func fullConnection(t *testing.T, fin bool) *trouble {
	t.Helper()
	full := make(chan struct{}, 1)
	f := newFar(t, func(f *far, c *net.TCPConn) {
		_, _ = c.Write([]byte(speaks))
		step := []byte(strings.Repeat(asks, 300))
		for under := 0; ; { // in steps: too many answers that wait at the client would be a protocol error
			if _, err := c.Write(step); err != nil {
				return
			}
			before := under
			if !within(50*time.Millisecond, func() bool { under = queued(t, f.port); return under >= before+len(step) }) {
				break
			}
		}
		_, _ = c.Write([]byte("\xff\xfb\x06")) // WILL TIMING-MARK: the opening is over
		if fin {
			_ = c.CloseWrite()
		}
		select {
		case full <- struct{}{}:
		default:
		}
		<-f.over
	})
	f.narrow = true
	f.up()
	x := launch(t, f.url())
	x.lose(t, 100)
	select {
	case <-full:
	case <-time.After(testenv.Patience):
		t.Fatal("the connection to the server does not fill")
	}
	return x
}

// queued returns how many bytes are in the kernel on their way to a server of this machine: unacknowledged by clients, and
// unread by the server.
func queued(t *testing.T, port int) (n int) {
	text, err := os.ReadFile("/proc/thread-self/net/tcp")
	if err != nil {
		t.Error(err)
	}
	server := fmt.Sprintf("0100007F:%04X", port)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[1] != server && f[2] != server || f[3] == listening {
			continue
		}
		var tx, rx int
		if _, err := fmt.Sscanf(f[4], "%x:%x", &tx, &rx); err != nil {
			t.Error(err)
		}
		if f[1] == server {
			n += rx
		} else {
			n += tx
		}
	}
	return n
}

// fullBacklog returns a TCP port whose backlog is full: connections are neither accepted nor refused.
func fullBacklog(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	port := farPort(t)
	at := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(unix.Bind(fd, at), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(c) })
		if err := unix.Connect(c, at); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			t.Fatal(err)
		}
	}
	return port
}

// syns returns how many connections to a port of this machine are in TCP_SYN_SENT.
func syns(t *testing.T, port int) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == fmt.Sprintf("0100007F:%04X", port) && f[3] == "02" {
			n++
		}
	}
	return n
}
