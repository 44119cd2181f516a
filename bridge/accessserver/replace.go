package accessserver

import (
	"context"
	"errors"
	"net"
	"time"

	"telnetcpc/bridge/tcp"
)

const (
	// deadAfter is how long a client may be silent that TCP has asked for a sign of life while another one from its
	// address has come through. The newcomer waits: pyserial and our own client give a server 3 s to say something.
	deadAfter = 2 * time.Second
	// inquiryAgain is how often the inquiry looks.
	inquiryAgain = 100 * time.Millisecond
)

// errReplaced ends the session of a client that is dead and whose address has come back.
var errReplaced = errors.New("nothing is heard from the client, and its address has come again")

// owner is the client that has the device.
type owner struct {
	conn   net.Conn
	hangUp context.CancelCauseFunc
}

// inquire finds out whether the owner is dead, when somebody from its address wants its place: a machine that was
// switched off and on has left a session here that nobody will ever end. The owner's TCP is asked at once (keepalive).
// Either it answers, or says that it knows of no such connection, which ends the session, or it is silent, and then the
// session is ended here. Several clients behind one address (NAT, one machine) do not disturb each other: as long as
// the owner's TCP answers, it stays. It reports whether
// the owner's place is, or will soon be, free.
func (o *owner) inquire(ctx context.Context, conn net.Conn) bool {
	if o.conn == nil {
		return false
	}
	below := tcpOf(o.conn)
	if below == nil || !sameHost(o.conn, conn) {
		return false
	}
	watch := tcp.NewWatch(below)
	hurry := tcp.KeepAlive()
	hurry.Idle, hurry.Interval = time.Second, time.Second
	_ = below.SetKeepAliveConfig(hurry)
	defer keepAlive(below)
	began := time.Now()
	again := time.NewTicker(inquiryAgain)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return false
		}
		asked := time.Since(began)
		facts := watch.Look()
		switch {
		case !facts.Known: // it has ended meanwhile, or that cannot be known here
			return true
		case facts.Silence < asked-inquiryAgain: // the answer is there
			return false
		case asked < deadAfter:
		case facts.Asked:
			o.hangUp(errReplaced)
			return true
		default:
			return false
		}
	}
}

// keepAlive has TCP notice within 15 s that a client is gone without a word. Where it fails the system's keepalive of
// two hours is left: no reason to send anybody away.
func keepAlive(conn *net.TCPConn) { _ = conn.SetKeepAliveConfig(tcp.KeepAlive()) }

// watchOf returns a function that says what TCP knows of a client; nothing where there is no TCP below conn.
func watchOf(conn net.Conn) (look func() tcp.Facts) {
	if below := tcpOf(conn); below != nil {
		return tcp.NewWatch(below).Look
	}
	return func() tcp.Facts { return tcp.Facts{} }
}

// tcpOf is the TCP connection below conn, or nil.
func tcpOf(conn net.Conn) *net.TCPConn {
	for {
		over, ok := conn.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			tcp, _ := conn.(*net.TCPConn)
			return tcp
		}
		conn = over.NetConn()
	}
}

func sameHost(a, b net.Conn) bool {
	x, ok := a.RemoteAddr().(*net.TCPAddr)
	y, also := b.RemoteAddr().(*net.TCPAddr)
	return ok && also && x.IP.Equal(y.IP)
}
