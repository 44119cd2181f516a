package bridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// run is one port from Open to Close. A hangup ends it; the port that is created after that has a new run.
type run struct {
	*Bridge

	// Constant after open.
	port  uart.Port
	exact bool // the port reports closes in order with the bytes (uart.CarriesOrder)

	link      link
	fromUp    fromUp
	announced announced
	opens     waitingOpens
	modem     modem

	closed      chan struct{}   // closed together with the port; ends every wait of up and down
	nextSession chan *session   // to down: the session to read after the current one
	dialed      chan dialResult // from the dial in progress
	failed      chan error      // from up and down: why the port is lost
	carriers    sync.WaitGroup  // up, down and resend

	reading      atomic.Pointer[session] // the session that down took last; for the shutdown alone
	stopReading  atomic.Bool             // set at the shutdown: down closes the sessions that it takes
	staleDropped atomic.Uint64           // bytes that down has dropped as stale and that are not in the log yet

	loop // only Run's goroutine
}

// fromUp is what up has seen and done. up writes it, Run and down read it.
type fromUp struct {
	opened     atomic.Bool   // the port is open
	visits     atomic.Uint64 // how often it was opened: a program that has come and gone still gets a session
	leftDTR    atomic.Bool   // the last program left DTR on: HUPCL is off
	purgesSeen atomic.Uint64 // transmit purges that Next has returned
	closesSeen atomic.Uint64 // closes that Next has returned
	nextCalls  atomic.Uint64 // incremented before and after each Next; odd: blocked in it. For the shutdown alone

	awaitingFall atomic.Bool   // up or resend waits for bytes before DTR or RTS falls; for down alone
	unlogged     atomic.Uint64 // dropped bytes that are not in the log yet; written by Run too
}

// announced counts what Urgent has reported ahead of the stream, and what follows from that. Any goroutine. Bytes in hand
// are dropped while more purges are announced than seen, until the close abandoned is seen, and during the shutdown.
type announced struct {
	purges    atomic.Uint64
	closes    atomic.Uint64
	abandoned atomic.Uint64 // the number of a close: the bytes before it are given up
	dropAll   atomic.Bool   // the shutdown: all bytes are given up
}

// waitingOpens are the calls of open() that wait for the result of a dial. up adds, Run takes.
type waitingOpens struct {
	mu    sync.Mutex // guards ready
	ready []func(error)
}

// modem is the modem state that the application sees. mu makes "compute the state, then SetModem" one step for Run and
// down.
type modem struct {
	mu     sync.Mutex
	linkUp bool            // a session is up, as the application sees it
	device uart.ModemState // as the last session reported it
}

// loop is what Run's goroutine alone uses.
type loop struct {
	phase         phase
	session       *session           // in phases up, closing and FIN sent
	cancelDial    context.CancelFunc // nil: no dial is in progress
	dialUnwanted  bool               // the result of that dial is discarded
	sleepsSeen    uint64             // Bridge.sleeps when it was last handled
	servedVisits  uint64             // visits that have had a session, or a dial that failed
	idleEnds      int                // how many sessions in a row the access server has ended while nothing was in flight
	endedByPeer   bool               // the access server ended the last session
	closeWatch    closeWatch
	unknownLogged bool // "unknown whether the access server read everything" was logged as a warning
	shutdown      shutdown
}

type dialResult struct {
	session *session
	err     error

	// If err is set: the opens and visits that this dial was for.
	opens, visits uint64
}

// open creates the port and its run.
func (b *Bridge) open(ctx context.Context) (*run, error) {
	r := &run{
		Bridge:      b,
		closed:      make(chan struct{}),
		nextSession: make(chan *session, 1),
		dialed:      make(chan dialResult, 1),
		failed:      make(chan error, 2),
		loop:        loop{sleepsSeen: b.sleeps.Load()},
	}
	r.link.init(b.policy)
	port, err := b.cfg.Open(ctx, uart.PortConfig{
		Unsent: r.unsent, Urgent: r.urgent, OpenWait: *b.policy.OpenWait, Pinned: b.policy.Coding, Log: b.log,
	})
	if err != nil {
		return nil, err
	}
	r.port, r.exact = port, port.Fidelity().Carries(uart.CarriesOrder)
	b.current.Store(r)
	return r, nil
}

// serve runs up and down until the context ends (nil), the policy hangs up (errHangup), or the port is lost.
func (r *run) serve(ctx context.Context) error {
	r.portReady()
	r.enter(phaseIdle, time.Now())
	r.carriers.Go(r.up)   // ends when the port is closed
	r.carriers.Go(r.down) // ends when the port is closed and its session has ended
	err := r.decide(ctx)
	r.closePort()
	r.collect()
	return err
}

// isClosed reports whether the port is closed.
func (r *run) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// unsent implements uart.PortConfig.Unsent.
func (r *run) unsent() uart.Unsent {
	changed := r.link.notifier.wait() // first, so that a change during the computation closes it
	var u uart.Unsent
	if s := r.link.direct(); s != nil {
		u = s.left()
	} else {
		u = r.link.left(time.Now())
	}
	u.Changed = changed
	return u
}

// urgent implements uart.PortConfig.Urgent: the host has seen a purge or a close whose event Next has not returned yet.
func (r *run) urgent(e uart.Event) {
	switch {
	case e.Kind == uart.KindClosed:
		r.announced.closes.Add(1)
	case e.Kind == uart.KindPurge && e.Purge&uart.PurgeTx != 0:
		r.announced.purges.Add(1)
	}
	r.wakeRun() // its next step wakes the goroutines up and resend
}

// dropping reports whether an announced event, or the shutdown, discards the bytes in hand and those held.
func (r *run) dropping() bool {
	return r.announced.purges.Load() > r.fromUp.purgesSeen.Load() ||
		r.announced.abandoned.Load() > r.fromUp.closesSeen.Load() || r.announced.dropAll.Load()
}

// countDropped counts bytes of the application that will not be sent.
func (r *run) countDropped(n int) { r.count.upDropped.Add(uint64(n)) }

// countLost is countDropped for bytes that must be logged: all but those that a purge drops.
func (r *run) countLost(n int) {
	r.countDropped(n)
	r.fromUp.unlogged.Add(uint64(n))
}

func (r *run) countBreaksDropped(n int) { r.count.breaksDropped.Add(uint64(n)) }

// portReady publishes and logs the port, and what it and its remote together cannot carry.
func (r *run) portReady() {
	both := r.port.Fidelity() & r.cfg.Remote.Fidelity()
	r.status.update(func(s *Snapshot) { s.Device, s.Missing = r.port.Name(), both.Missing() })
	r.log.Info("port ready", "path", r.cfg.Path, "device", r.port.Name(), "remote", r.cfg.Remote.String())
	var pinned uart.Fidelity
	if r.policy.Coding.DataBits != 0 {
		pinned = uart.CarriesDataBits | uart.CarriesSixBits | uart.CarriesParity
	}
	if missing := both.Missing().Without(pinned); missing != 0 {
		args := []any{"missing", missing.String()}
		if missing&uart.CarriesDataBits != 0 && r.cfg.Remote.Fidelity().Carries(uart.CarriesDataBits) {
			args = append(args, "hint", "for a device that needs 7E1: --line 7E1 here, 8N1 in the application")
		}
		r.log.Info("not carried here", args...)
	}
}

// decide is the loop of Run's goroutine: it waits for a change and acts on it. It returns nil when the context has ended
// and the shutdown is complete, errHangup, or why the port is lost.
func (r *run) decide(ctx context.Context) error {
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
			r.beginShutdown(time.Now())
		case err := <-r.failed:
			if r.session != nil {
				r.end(errPortLost, true, phaseIdle, time.Now())
			}
			return err
		case <-r.wake:
		case result := <-r.dialed:
			r.takeDial(result, time.Now())
		case <-timer.C:
		}
	}
}

// errDone ends decide: the context has ended and nothing is left to do.
var errDone = errors.New("nothing is left to do")

// alarm is the earliest of the times at which the next step is due; zero: none is.
type alarm time.Time

func (a *alarm) at(t time.Time) {
	if have := time.Time(*a); !t.IsZero() && (have.IsZero() || t.Before(have)) {
		*a = alarm(t)
	}
}

// step does what is due and returns when the next step is; zero: when Run is woken.
func (r *run) step(now time.Time) (due time.Time, err error) {
	r.link.notify()
	if s := r.session; s != nil && s.failed() {
		r.sessionLost(false, now)
	}
	for {
		var next alarm
		closed := r.shutdownTimer(&next, now)
		r.heldTimer(&next, now)
		r.closeTimer(&next, now)
		before := r.phase
		r.advance(&next, now)
		switch {
		case r.phase != before:
		case closed && r.session == nil && r.cancelDial == nil:
			return due, r.shutdown.result
		default:
			return time.Time(next), nil
		}
	}
}

// advance does what the phase requires, and enters the next phase when it is over.
func (r *run) advance(next *alarm, now time.Time) {
	asleep, sleeps := r.asleep.Load(), r.sleeps.Load()
	if asleep != (r.phase == phaseAsleep) || sleeps != r.sleepsSeen {
		r.sleepsSeen = sleeps
		r.sleep(asleep || r.phase != phaseAsleep, now)
		return
	}
	switch r.phase {
	case phaseIdle:
		if r.wanted() {
			r.enter(phaseConnecting, now)
		}
	case phaseConnecting:
		r.connect(next, now)
	case phaseUp, phaseClosing, phaseFINSent:
		if r.peerTimer(next, now); r.session != nil {
			r.suspensionTimer(next, now)
			r.markTimer(next, now)
			r.leaveTimer(next, now)
		}
	case phaseAsleep:
	}
}

// wanted reports whether a session is wanted. It is computed, not stored: a program has the port open, has just had it
// open, or has left bytes that wait.
func (r *run) wanted() bool {
	switch {
	case r.shutdown.portClosed || r.shutdown.result == errHangup:
		return false
	case r.shutdown.stage != stageNone: // a new session only for bytes that wait
		return r.phase == phaseUp || r.link.heldBytes() > 0
	}
	return r.policy.Connect == ConnectAlways || r.fromUp.opened.Load() || r.fromUp.visits.Load() != r.servedVisits ||
		r.link.heldBytes() > 0
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

// sessionLost ends a session that has failed. atOnce: nothing more is read from it.
func (r *run) sessionLost(atOnce bool, now time.Time) {
	s, next := r.session, phaseIdle
	if s.finSent {
		r.end(nil, atOnce, next, now)
		return
	}
	hangup := false
	switch r.policy.OnLoss {
	case OnLossHangup: // the port goes too, unless the session was not wanted any more
		hangup = s.unwantedSince.IsZero()
	case OnLossHold: // the port stays, and the link holds what the application writes for HoldFor
	case OnLossDiscard: // the port stays, and the link drops what the application writes
	}
	if !hangup && r.wanted() {
		next = phaseConnecting
	}
	r.end(nil, atOnce || hangup, next, now)
	if hangup {
		r.beginHangup(now)
	}
}

// releaseOpens lets every open() that waits return: with nil, or with why there is no session.
func (r *run) releaseOpens(err error) {
	r.opens.mu.Lock()
	waiting := r.opens.ready
	r.opens.ready = nil
	r.opens.mu.Unlock()
	for _, ready := range waiting {
		ready(err)
	}
}
