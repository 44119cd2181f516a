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
	// visitorsMost bounds the connections that have no session. Each is bounded too, in memory and time.
	visitorsMost = 32
	// talkMost is how long a visitor that speaks may take to agree before another one may have its place.
	talkMost = 2 * time.Second
)

// errCrowded ends a visit whose place another one gets.
var errCrowded = errors.New("too many connections without a session")

// visitor is a connection that has no session yet: it waits, negotiates, or is told why it gets none.
type visitor struct {
	accepted net.Conn // constant, as all of these
	hangUp   context.CancelCauseFunc
	since    time.Time
	tcp      *tcp.Socket // of accepted; nil: it is no TCP connection

	heard atomic.Bool // something of it has been read

	conn net.Conn // what is spoken on: accepted, or TLS over it; only its own goroutine's

	agreed  bool // to COM-PORT-OPTION; only its own goroutine's
	welcome bool // it wants the device and keeps its place; its own goroutine writes it, under the lobby's lock
}

// spoke reports whether anything has come from it, as far as the system tells, or it was read.
func (v *visitor) spoke() bool { return v.heard.Load() || v.tcp.Facts().Received > 0 }

func (v *visitor) hears() { v.heard.Store(true) }

// wants reports whether it wants a session, as far as can be known before anything is read of it: what begins with IAC is
// Telnet. A health check that only connects wants nothing. Only its own goroutine may ask.
func (v *visitor) wants() bool {
	var first byte
	var any bool
	if c, ok := v.conn.(*secured); ok {
		first, any = c.begins()
	} else if v.tcp != nil {
		first, any = v.tcp.Peek()
	} else {
		return true
	}
	return any && first == byte(telnet.IAC)
}

// lobby is where visitors are. When it is full, who has said nothing makes room: a health check, a port scanner or
// somebody who means harm keeps nobody out. The zero value is empty.
type lobby struct {
	mu  sync.Mutex // over everything below; held over no I/O but looks at sockets
	all []*visitor // the oldest first
}

// enter takes a visitor in. out is who has lost its place to it, or nil; false: there is no place.
func (l *lobby) enter(v *visitor) (out *visitor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) >= visitorsMost {
		if out = l.least(v.since); out == nil {
			return nil, false
		}
		l.remove(out)
	}
	l.all = append(l.all, v)
	return out, true
}

// leave ends a visit. It may be called again.
func (l *lobby) leave(v *visitor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(v)
}

// keep notes that a visitor wants the device and may wait for it; false: it has lost its place already.
func (l *lobby) keep(v *visitor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.welcome = true
	return slices.Contains(l.all, v)
}

func (l *lobby) remove(v *visitor) {
	if i := slices.Index(l.all, v); i >= 0 {
		l.all = slices.Delete(l.all, i, i+1)
	}
}

// least is who is to make room: of those that have said nothing, the oldest of the address that has the most of them;
// else, likewise, of those that talk and do not agree.
func (l *lobby) least(now time.Time) *visitor {
	var silent, talkers []*visitor
	for _, v := range l.all {
		switch {
		case v.welcome:
		case !v.spoke():
			silent = append(silent, v)
		case now.Sub(v.since) >= talkMost:
			talkers = append(talkers, v)
		}
	}
	if len(silent) == 0 {
		silent = talkers
	}
	count := make(map[string]int)
	most := 0
	for _, v := range silent {
		count[host(v.accepted)]++
		most = max(most, count[host(v.accepted)])
	}
	for _, v := range silent {
		if count[host(v.accepted)] == most {
			return v
		}
	}
	return nil
}

// host is the address of a client without its port.
func host(conn net.Conn) string {
	if at, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return at.IP.String()
	}
	return conn.RemoteAddr().String()
}
