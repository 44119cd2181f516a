package accessserver_test

import (
	"crypto/tls"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/rfc2217"
)

// The state of TCP below a session is checked through TLS too: a client whose machine has vanished is replaced by the next one from
// its address.
func TestTLSDeadOwnerIsReplaced(t *testing.T) {
	t.Parallel()
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
	conn := f.dial().(*tls.Conn)
	dead, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
	if err != nil {
		t.Fatal(err)
	}
	f.awaitLog("client connected")
	deafen(t, conn.NetConn())
	next := f.connect(rfc2217.Config{})
	next.set(fast)
	next.send("mine now")
	next.sees("mine now")
	f.awaitLog("client disconnected", "replaced by a new client from its address")
	_ = dead.Close()
}

// It is noticed that a client leaves while the UART accepts nothing.
func TestTLSGoesWhileTheUARTIsHeld(t *testing.T) {
	t.Parallel()
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
	c := f.call()
	c.say(rfc2217.AppendSettings(nil, holding))
	for heard := ""; heard != "\x00"; { // the break's echo
		data, _, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		heard = string(data)
	}
	c.say(make([]byte, 64<<10))
	_ = c.Close()
	f.awaitLog("client gone; its last bytes are being sent")
}
