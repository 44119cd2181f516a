package accessserver_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// glued is a connection that sends the first write at once, and the second one together with the third: the client's last record of
// the handshake arrives together with the first one after it.
type glued struct {
	net.Conn
	writes int
	kept   []byte
}

func (g *glued) Write(p []byte) (int, error) {
	if g.writes++; g.writes == 2 {
		time.Sleep(4 * time.Second) // more of the 10 s than the wait for the device leaves
		g.kept = bytes.Clone(p)
		return len(p), nil
	}
	_, err := g.Conn.Write(append(g.kept, p...))
	g.kept = nil
	return len(p), err
}

// A client through TLS counts as wanting the device, although the handshake has read its first bytes; and the wait for the device
// is not part of its time for the negotiation.
func TestTLSNewcomerHasTheDevice(t *testing.T) {
	t.Parallel()
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
	gone := f.connect(rfc2217.Config{})
	gone.set(slow)
	gone.send(strings.Repeat("gone", 1000))
	gone.end()
	f.awaitLog("client gone")

	below, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	newcomer := through(t, &glued{Conn: below}, own.trusts())
	defer newcomer.Close()
	c := &caller{Conn: newcomer, t: t}
	c.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	for {
		data, m, err := c.next()
		if err != nil || len(data) > 0 {
			t.Fatalf("got %q, %v, want the device", data, err)
		}
		if m.Command == telnet.SB && bytes.Equal(m.Sub, []byte{107, 0}) { // NOTIFY-MODEMSTATE: it owns the device
			return
		}
	}
}

// A health check that only completes the TLS handshake and leaves does not want the device.
func TestTLSHealthCheckCostsNoBytes(t *testing.T) {
	t.Parallel()
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
	c := f.connect(rfc2217.Config{})
	text := strings.Repeat("slow", 120) // 16 s
	c.set(slow)
	c.send(text)
	c.end()
	over := make(chan struct{})
	var checks sync.WaitGroup
	checks.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(500 * time.Millisecond): // how often it comes
				_ = f.dial().Close()
			}
		}
	})
	f.awaitLog("client left")
	close(over)
	checks.Wait()
	if got := f.sent(); got != text {
		t.Errorf("%d of %d bytes were sent", len(got), len(text))
	}
}
