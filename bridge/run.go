package bridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// run is the life of one opened port: from Open to Close, again after a hangup.
type run struct {
	*Bridge
	port uart.Port
	link link

	exact bool // the port says a close in its place among the bytes; constant

	done   chan struct{}   // closed when the port is: ends every wait of up and down
	next   chan *session   // to down: the session to read after the present one
	dialed chan dialResult // from the dial under way
	failed chan error      // from up and down: the port is lost
	ways   sync.WaitGroup  // up, down and resend

	reading atomic.Pointer[session] // the session that down took last; for the end alone
	unread  atomic.Bool             // the end has come: down closes what it takes

	// What up has seen, for Run to decide on.
	opened atomic.Bool   // the port is open
	visits atomic.Uint64 // how often it was opened: a program that came and went wants a session too
	dtrUp  atomic.Bool   // the last program left DTR up: HUPCL is off
	untold atomic.Uint64 // bytes dropped of which the log does not know yet
	early  atomic.Uint64 // bytes of the device dropped for what was written before they came; of which the log does not know yet
	place  atomic.Uint64 // odd while up is in Port.Next, and changed by every Next; for the end alone

	// Called out by Urgent, and come from Next: bytes in hand are dropped while more purges were called out than came,
	// while closes up to abandon did not come, and at the end.
	purgesCalled, purgesSeen atomic.Uint64
	closesCalled, closesSeen atomic.Uint64
	abandon                  atomic.Uint64
	dropAll                  atomic.Bool
	falling                  atomic.Bool // the one who sends waits with a fall of DTR or RTS; for down alone

	readyMu sync.Mutex // over ready
	ready   []func(error)

	modemMu sync.Mutex      // makes "which state, then SetModem" one step for Run and down
	shows   bool            // a session stands, as the application sees it
	device  uart.ModemState // of the session that stood last

	// Only Run's.
	phase      phase
	session    *session           // in up, closing and left
	hangUp     context.CancelFunc // ends the dial under way; nil: none is
	stopped    bool               // nobody wants what comes of that dial
	slept      uint64             // of Bridge.sleeps, how many Run has seen
	served     uint64             // visits that have had their session, or a dial in vain
	ends       int                // how often in a row the access server has ended a session with nothing under way
	theirs     bool               // the last session was ended by the access server
	closes     closes
	unsureSaid bool // a session has ended unsure, and that was said
	ending     ending
}

type dialResult struct {
	session *session
	err     error

	// With err, what had come of the port by then.
	opens, visits uint64
}

// open makes the port, and what belongs to it.
func (b *Bridge) open(ctx context.Context) (*run, error) {
	r := &run{
		Bridge: b,
		done:   make(chan struct{}),
		next:   make(chan *session, 1),
		dialed: make(chan dialResult, 1),
		failed: make(chan error, 2),
		slept:  b.sleeps.Load(),
	}
	r.link.init(b.policy)
	port, err := b.cfg.Open(ctx, uart.PortConfig{
		Unsent: r.unsent, Urgent: r.urgent, OpenWait: *b.policy.OpenWait, Pinned: b.policy.Coding, Log: b.log,
	})
	if err != nil {
		return nil, err
	}
	r.port, r.exact = port, port.Fidelity().Carries(uart.CarriesOrder)
	b.present.Store(r)
	return r, nil
}

// serve runs up and down until the context ends (nil), the policy hangs up (errHangup), or the port is lost.
func (r *run) serve(ctx context.Context) error {
	r.announce()
	r.enter(phaseIdle, time.Now())
	r.ways.Go(r.up)   // ends when the port is closed
	r.ways.Go(r.down) // ends when the port is closed and its session has ended
	err := r.loop(ctx)
	r.closePort()
	r.collect()
	return err
}

// isDone reports whether the port is closed.
func (r *run) isDone() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// unsent is uart.PortConfig.Unsent of this port.
func (r *run) unsent() uart.Unsent {
	changed := r.link.notice.wait() // first: what changes behind it is told by it
	var u uart.Unsent
	if s := r.link.giver(); s != nil {
		u = s.left()
	} else {
		u = r.link.left(time.Now())
	}
	u.Changed = changed
	return u
}

// urgent is uart.PortConfig.Urgent: a purge or a close was seen before its place in the stream.
func (r *run) urgent(e uart.Event) {
	switch {
	case e.Kind == uart.KindClosed:
		r.closesCalled.Add(1)
	case e.Kind == uart.KindPurge && e.Purge&uart.PurgeTx != 0:
		r.purgesCalled.Add(1)
	}
	r.kickRun() // which wakes whoever holds bytes
}

// dropping reports whether the bytes in hand and held lie before something that throws them away.
func (r *run) dropping() bool {
	return r.purgesCalled.Load() > r.purgesSeen.Load() || r.abandon.Load() > r.closesSeen.Load() || r.dropAll.Load()
}

// dropped counts bytes of the application that nobody will get.
func (r *run) dropped(n int) { r.count.upDropped.Add(uint64(n)) }

// outage is dropped, for bytes of which somebody has to be told: not those of a purge.
func (r *run) outage(n int) {
	r.dropped(n)
	r.untold.Add(uint64(n))
}

func (r *run) breaksDropped(n int) { r.count.breaksDropped.Add(uint64(n)) }

// announce says what the port is, and what it and its remote together cannot carry.
func (r *run) announce() {
	both := r.port.Fidelity() & r.cfg.Remote.Fidelity()
	r.board.set(func(s *Snapshot) { s.Device, s.Missing = r.port.Name(), both.Missing() })
	r.log.Info("port ready", "path", r.cfg.Path, "device", r.port.Name(), "remote", r.cfg.Remote.String())
	var pinned uart.Fidelity
	if r.policy.Coding.DataBits != 0 {
		pinned = uart.CarriesDataBits | uart.CarriesSixBits | uart.CarriesParity
	}
	if missing := both.Missing().Without(pinned); missing != 0 {
		args := []any{"missing", missing.String()}
		if missing&uart.CarriesDataBits != 0 && r.cfg.Remote.Fidelity().Carries(uart.CarriesDataBits) {
			args = append(args, "hint", "a device that wants 7E1: --line 7E1 here, 8N1 in the application")
		}
		r.log.Info("not carried here", args...)
	}
}

// loop is Run's: it waits for something to change, and decides. It returns nil when the context has ended and all that
// was to be done before the end is, errHangup, or why the port is lost.
func (r *run) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := ctx.Done()
	for {
		due, err := r.step(time.Now())
		switch {
		case errors.Is(err, errDone):
			return nil
		case err != nil:
			return err
		case due.IsZero():
			timer.Stop()
		default:
			timer.Reset(time.Until(due))
		}
		select {
		case <-ended:
			ended = nil
			r.beginEnd(time.Now())
		case err := <-r.failed:
			if r.session != nil {
				r.end(errPortLost, true, phaseIdle, time.Now())
			}
			return err
		case <-r.kick:
		case result := <-r.dialed:
			r.settle(result, time.Now())
		case <-timer.C:
		}
	}
}

// errDone ends loop: the context has ended and nothing is left to do.
var errDone = errors.New("nothing is left to do")

// alarm is the earliest of several times at which to look again.
type alarm time.Time

func (a *alarm) at(t time.Time) {
	if have := time.Time(*a); !t.IsZero() && (have.IsZero() || t.Before(have)) {
		*a = alarm(t)
	}
}

// step does what is due and returns when to look again; zero: when kicked.
func (r *run) step(now time.Time) (due time.Time, err error) {
	r.link.wake()
	if s := r.session; s != nil && s.failed() {
		r.lose(false, now)
	}
	for {
		var again alarm
		over := r.endClock(&again, now)
		r.heldClock(&again, now)
		r.closeClock(&again, now)
		before := r.phase
		r.advance(&again, now)
		switch {
		case r.phase != before:
		case over && r.session == nil && r.hangUp == nil:
			return due, r.ending.result
		default:
			return time.Time(again), nil
		}
	}
}

// advance does what the phase asks for, and enters the next one where it is over.
func (r *run) advance(again *alarm, now time.Time) {
	asleep, sleeps := r.asleep.Load(), r.sleeps.Load()
	if asleep != (r.phase == phaseAsleep) || sleeps != r.slept {
		r.slept = sleeps
		r.sleep(asleep || r.phase != phaseAsleep, now)
		return
	}
	switch r.phase {
	case phaseIdle:
		if r.wanted() {
			r.enter(phaseConnecting, now)
		}
	case phaseConnecting:
		r.connect(again, now)
	case phaseUp, phaseClosing, phaseLeft:
		if r.peer(again, now); r.session != nil {
			r.suspension(again, now)
			r.markClock(again, now)
			r.leave(again, now)
		}
	case phaseAsleep:
	}
}

// wanted is derived from what is: somebody has the port open, has just had, or bytes of somebody wait.
func (r *run) wanted() bool {
	switch {
	case r.ending.over || r.ending.result == errHangup:
		return false
	case r.ending.stage != stageNone: // no session begins any more but for bytes that wait
		return r.phase == phaseUp || r.link.holds() > 0
	}
	return r.policy.Connect == ConnectAlways || r.opened.Load() || r.visits.Load() != r.served || r.link.holds() > 0
}

// sleep enters or leaves the phase in which the machine sleeps.
func (r *run) sleep(asleep bool, now time.Time) {
	if !asleep {
		r.enter(phaseIdle, now)
		return
	}
	r.stopDial()
	if r.session != nil {
		r.end(errAsleep, true, phaseAsleep, now)
		return
	}
	r.enter(phaseAsleep, now)
}

// lose takes a session that has failed. atOnce: nothing more comes of it.
func (r *run) lose(atOnce bool, now time.Time) {
	s, next := r.session, phaseIdle
	if s.finSent {
		r.end(nil, atOnce, next, now)
		return
	}
	hangup := r.policy.OnLoss == OnLossHangup && s.unwanted.IsZero()
	if !hangup && r.wanted() {
		next = phaseConnecting
	}
	r.end(nil, atOnce || hangup, next, now)
	if hangup {
		r.beginHangup(now)
	}
}

// answerOpens tells every open() that waits how it went.
func (r *run) answerOpens(err error) {
	r.readyMu.Lock()
	waiting := r.ready
	r.ready = nil
	r.readyMu.Unlock()
	for _, ready := range waiting {
		ready(err)
	}
}
