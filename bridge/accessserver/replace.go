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
	// deadAfter is how long a client may be silent that TCP has asked for a sign of life while another one from its
	// address has come through. The newcomer waits: pyserial and our own client give a server 3 s to say something.
	// Where bytes of the owner lie unread its answers may need room first (tcp.Socket), and who has less patience comes again.
	deadAfter, unheardAfter = 2 * time.Second, 6 * time.Second
	// wantsAgain is within what time a client that was refused dials again, and givesUp how long nobody must have wanted the
	// device for all to have given up.
	wantsAgain, givesUp = 15 * time.Second, 4 * time.Second
	// inquiryAgain is how often the inquiry looks.
	inquiryAgain = 100 * time.Millisecond
)

// errReplaced ends the session of a client that is dead and whose address has come back.
var errReplaced = errors.New("nothing is heard from the client, and its address has come again")

// owner is the client that has the device. nil, which is nobody, may be asked too.
type owner struct {
	conn   net.Conn
	tcp    *tcp.Socket
	hangUp context.CancelCauseFunc
	gone   atomic.Bool // it has left: only its last bytes still have the device

	mu          sync.Mutex // over everything below
	first, last time.Time  // when somebody else wanted the device: since when again and again, and the last time
	since       time.Time  // when it left
}

func (o *owner) left() bool { return o != nil && o.gone.Load() }

// leave notes that it has left: only its last bytes still have the device.
func (o *owner) leave(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = now
	o.gone.Store(true)
}

// want notes that somebody else wants the device.
func (o *owner) want(now time.Time) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.last) > wantsAgain {
		o.first = now
	}
	o.last = now
}

// wanted is for how long somebody else has wanted the device, as far as he was here; 0: nobody does, or he has given up.
func (o *owner) wanted(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.last) > givesUp {
		return 0
	}
	return o.last.Sub(o.first)
}

// outlasted is likewise for how long somebody else has wanted it since the owner left.
func (o *owner) outlasted(now time.Time) time.Duration {
	wanted := o.wanted(now)
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(0, min(wanted, o.last.Sub(o.since)))
}

// name is for the log.
func (o *owner) name() string {
	if o == nil {
		return "nobody"
	}
	return o.conn.RemoteAddr().String()
}

// inquire finds out whether the owner is dead, when somebody from its address wants its place: a machine that was
// switched off and on has left a session here that nobody will ever end. The owner's TCP is asked at once (keepalive).
// Either it answers, or says that it knows of no such connection, which ends the session, or it is silent, and then the
// session is ended here. Several clients behind one address (NAT, one machine) do not disturb each other: as long as
// the owner's TCP answers, it stays. It reports whether the owner's place is, or will soon be, free.
func (o *owner) inquire(ctx context.Context, conn net.Conn) bool {
	if o == nil || o.tcp == nil || host(o.conn) != host(conn) {
		return false
	}
	o.tcp.ProbeSoon()
	defer o.tcp.KeepAlive()
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
		facts := o.tcp.Facts()
		switch {
		case !facts.Known: // it has ended meanwhile, or that cannot be known here
			return true
		case facts.Silence < asked-inquiryAgain: // the answer is there
			return false
		case asked < deadAfter, facts.Unread > 0 && asked < unheardAfter:
		case facts.Asked:
			o.hangUp(fmt.Errorf("%w (%d bytes of it were not read)", errReplaced, facts.Unread))
			return true
		default:
			return false
		}
	}
}
