package tcp

import (
	"net"
	"testing"
	"time"
)

// A living peer that has filled the receive buffer counts as silent only until there is room: segments beyond the window are
// dropped, with the acknowledgements in them (Linux 6.17 and later).
func TestHeardWithoutRoom(t *testing.T) {
	t.Parallel()
	t.Run("asked by data", func(t *testing.T) {
		t.Parallel()
		heardWithoutRoom(t, func(near *net.TCPConn) error {
			_, err := near.Write([]byte("?"))
			return err
		})
	})
	t.Run("asked by keepalive", func(t *testing.T) {
		t.Parallel()
		heardWithoutRoom(t, func(near *net.TCPConn) error { return near.SetKeepAliveConfig(keepAlive()) })
	})
}

func heardWithoutRoom(t *testing.T, ask func(near *net.TCPConn) error) {
	t.Helper()
	far, near := served(t)
	_, _ = far.SetDeadline(time.Time{}), near.SetDeadline(time.Time{}) // a busy machine takes its time
	socket := SocketOf(near)
	peer := SocketOf(far)
	for n := 0; peer.Unacked() < 2000; n++ { // until the kernel takes no more; each byte is a segment, as from a device
		if _, err := far.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Microsecond)
		if n > 200_000 {
			t.Fatalf("the kernel accepts %d bytes that nobody reads", n)
		}
	}
	if err := ask(near); err != nil {
		t.Fatal(err)
	}
	longest := time.Duration(0)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		facts := socket.Facts()
		longest = max(longest, facts.Waiting)
	}
	facts := socket.Facts()
	t.Logf("the longest silence: %v, %d bytes unread", longest, facts.Unread)
	if longest > 10*time.Second || facts.Ended {
		t.Errorf("a living peer counts as silent for %v; ended: %v", longest, facts.Ended)
	}
}
