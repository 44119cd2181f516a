package accessserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/tcp"
)

const (
	// deadAfter is how long the owner may leave TCP's keepalive probes unanswered while a new client from its address waits:
	// pyserial and attach give a server 3 s for its first bytes. While bytes of the owner are unread, its answers may need room
	// first (tcp.Socket); then it is unheardAfter, and a less patient client has to dial again.
	deadAfter, unheardAfter = 2 * time.Second, 6 * time.Second
	// redialTime is the time within which a refused client dials again. If no client has wanted the device for giveUpTime,
	// all have given up.
	redialTime, giveUpTime = 15 * time.Second, 4 * time.Second
	// probeCheckEvery is how often endIfDead checks for an answer.
	probeCheckEvery = 100 * time.Millisecond
)

// errReplaced ends the session of an owner that is dead.
var errReplaced = errors.New("unresponsive; replaced by a new client from its address")

// owner is the client that has the device, or had it last. Its methods may be called from any goroutine; left, want, name
// and endIfDead also on nil, which means that there was no client yet.
type owner struct {
	conn   net.Conn
	tcp    *tcp.Socket
	hangUp context.CancelCauseFunc
	gone   atomic.Bool // it has left; only its last bytes still need the device

	mu       sync.Mutex // guards everything below
	wantFrom time.Time  // since when other clients have wanted the device without a pause
	wantLast time.Time  // when one last did
	leftAt   time.Time
}

// left reports whether the owner has left, so that only its last bytes still need the device.
func (o *owner) left() bool { return o != nil && o.gone.Load() }

// leave records that it has left.
func (o *owner) leave(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leftAt = now
	o.gone.Store(true)
}

// want records that another client wants the device now.
func (o *owner) want(now time.Time) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.wantLast) > redialTime {
		o.wantFrom = now
	}
	o.wantLast = now
}

// wantedFor returns for how long other clients have wanted the device, up to the last time that one did; 0: none wants it
// any more.
func (o *owner) wantedFor(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.wantLast) > giveUpTime {
		return 0
	}
	return o.wantLast.Sub(o.wantFrom)
}

// wantedSinceLeft is wantedFor, counted from when the owner left.
func (o *owner) wantedSinceLeft(now time.Time) time.Duration {
	wanted := o.wantedFor(now)
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(0, min(wanted, o.wantLast.Sub(o.leftAt)))
}

// name returns its address, for the log.
func (o *owner) name() string {
	if o == nil {
		return "nobody"
	}
	return o.conn.RemoteAddr().String()
}

// endIfDead ends the owner's session if it is dead and conn comes from its address: a machine that was switched off and
// on again leaves a session that would never end. The owner's TCP is probed at once (keepalive). If it answers, the owner
// stays, so several clients at one address (NAT, or one machine) do not disturb each other; if it does not know the
// connection, its reset ends the session; if it does not answer, the session is ended here. It reports whether the device
// is, or will soon be, free.
func (o *owner) endIfDead(ctx context.Context, conn net.Conn) bool {
	if o == nil || o.tcp == nil || host(o.conn) != host(conn) {
		return false
	}
	o.tcp.ProbeSoon()
	defer o.tcp.KeepAlive()
	began := time.Now()
	again := time.NewTicker(probeCheckEvery)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return false
		}
		probed := time.Since(began)
		facts := o.tcp.Facts()
		switch {
		case !facts.Known: // it has ended, or this system does not report facts
			return true
		case facts.Silence < probed-probeCheckEvery: // it has answered
			return false
		case probed < deadAfter, facts.Unread > 0 && probed < unheardAfter:
		case facts.Awaited:
			o.hangUp(fmt.Errorf("%w (%d of its bytes were not read)", errReplaced, facts.Unread))
			return true
		default:
			return false
		}
	}
}
