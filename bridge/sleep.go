package bridge

import (
	"errors"
	"time"
)

// The machine sleeps: a session would be dead when it wakes, and the access server would keep the device for it meanwhile.

var errAsleep = errors.New("the machine goes to sleep")

// Sleep ends the session, and lets none be made until Wake. The access server hears the end, the application's modem
// state falls, DCD too; the port stays, and what the application wrote and TCP had not taken is held. It does not wait.
// Sleep and Wake may be called by anyone at any time, twice too, and before Run.
func (b *Bridge) Sleep() {
	b.asleep.Store(true)
	b.kickRun()
}

// Wake ends what Sleep began: where a session is wanted it is dialed at once, and told the whole state of the port.
func (b *Bridge) Wake() {
	b.asleep.Store(false)
	b.kickRun()
}

// rest is Run's step while the machine sleeps: all that is left is to end the session, and the dial under way.
func (r *run) rest() {
	st := &r.state
	if st.dialing {
		st.hangUp()
	}
	// No clock runs on: what it counts is waking time.
	*st = machine{dialing: st.dialing, hangUp: st.hangUp, backoff: st.backoff}
	st.backoff.Reset()
	r.board.link(LinkIdle)
	s := r.link.current()
	if s == nil {
		return
	}
	s.fail(errAsleep)
	loss := r.loss(s, time.Now())
	s.Close() // up may stand in its Write: it holds the rest
	r.link.clear()
	if r.policy.OnLoss == OnLossDiscard {
		r.discard()
	}
	r.linesFall()
	r.log.Info("session closed: the machine goes to sleep", "remote", r.cfg.Remote.String(),
		"unacked", loss.Unacked, "since_mark", loss.SinceMark, "lost_at_most", loss.AtMost)
}
