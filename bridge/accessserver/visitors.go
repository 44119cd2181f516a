package accessserver

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/telnet"
)

const (
	// visitorLimit bounds the connections without a session. Each of them is bounded in memory and time.
	visitorLimit = 32
	// talkTime is how long a visitor that sends something may take to negotiate before another one can take its place.
	talkTime = 2 * time.Second
)

// errCrowded ends a visitor that loses its place to another one.
var errCrowded = errors.New("too many connections without a session")

// visitor is a connection without a session: it waits, negotiates, or reads why it is refused. admit starts its goroutine.
type visitor struct {
	// Constant.
	accepted net.Conn
	hangUp   context.CancelCauseFunc
	since    time.Time   // when it connected
	tcp      *tcp.Socket // of accepted; nil: it is no TCP connection

	heard atomic.Bool // something was read from it

	// Only its own goroutine's.
	conn   net.Conn // accepted, or TLS over it
	agreed bool     // COM-PORT-OPTION was negotiated

	kept bool // it wants the device and keeps its place; its own goroutine reads it, and writes it under the lock of visitors
}

// spoke reports whether anything was read from it, or has arrived if the system reports that.
func (v *visitor) spoke() bool { return v.heard.Load() || v.tcp.Facts().Received > 0 }

func (v *visitor) setHeard() { v.heard.Store(true) }

// wants reports whether it wants a session, by the first byte that it has sent, before the negotiation reads it: Telnet
// begins with IAC. A health check only connects and sends nothing. Only its own goroutine calls it.
func (v *visitor) wants() bool {
	var first byte
	var any bool
	if c, ok := v.conn.(*secured); ok {
		first, any = c.peek()
	} else if v.tcp != nil {
		first, any = v.tcp.Peek()
	} else {
		return true
	}
	return any && first == byte(telnet.IAC)
}

// visitors are the connections without a session. When there are too many, one that has sent nothing is ended, so that
// health checks, port scanners and attackers keep no client out. The zero value is empty.
type visitors struct {
	mu  sync.Mutex // guards all, and kept of each; never held over I/O other than TCP_INFO
	all []*visitor // the oldest first
}

// enter adds a visitor. out is the visitor that loses its place to v, or nil. ok is false if there is no place.
func (l *visitors) enter(v *visitor) (out *visitor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) >= visitorLimit {
		if out = l.leastWanted(v.since); out == nil {
			return nil, false
		}
		l.remove(out)
	}
	l.all = append(l.all, v)
	return out, true
}

// leave removes a visitor, if it is still there.
func (l *visitors) leave(v *visitor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(v)
}

// keep records that a visitor wants the device and keeps its place. It returns false if the visitor has already lost it.
func (l *visitors) keep(v *visitor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.kept = true
	return slices.Contains(l.all, v)
}

func (l *visitors) remove(v *visitor) {
	if i := slices.Index(l.all, v); i >= 0 {
		l.all = slices.Delete(l.all, i, i+1)
	}
}

// leastWanted returns the visitor to be ended: among those that have sent nothing, the oldest one from the address that
// has most of them; if there is none, likewise among those that have negotiated for talkTime. l.mu is held.
func (l *visitors) leastWanted(now time.Time) *visitor {
	var silent, talkers []*visitor
	for _, v := range l.all {
		switch {
		case v.kept:
		case !v.spoke():
			silent = append(silent, v)
		case now.Sub(v.since) >= talkTime:
			talkers = append(talkers, v)
		}
	}
	candidates := silent
	if len(candidates) == 0 {
		candidates = talkers
	}
	count := make(map[string]int)
	most := 0
	for _, v := range candidates {
		count[host(v.accepted)]++
		most = max(most, count[host(v.accepted)])
	}
	for _, v := range candidates {
		if count[host(v.accepted)] == most {
			return v
		}
	}
	return nil
}

// host returns the address of a client without its port.
func host(conn net.Conn) string {
	if at, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return at.IP.String()
	}
	return conn.RemoteAddr().String()
}
