package wincom

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// Whether the application has its end open. The stream has opens and closes in order with the bytes. But while Next is not
// called, because the bytes before them cannot be passed on, nobody reads the stream; the modem state of the agent's end
// shows a close at once. So a poller reads that meanwhile and announces the close (Urgent), and Write stops.

// pollEvery is how often the poller reads the modem state while the port is open and Next is not reading.
const pollEvery = 200 * time.Millisecond

// presence is what Next, Write and the poller know about the application.
type presence struct {
	reading atomic.Bool // Next waits in Device.Read and sees a close itself: the poller has nothing to do

	mu        sync.Mutex // makes a change and the decision to announce it one step
	present   bool       // somebody has the port open, as far as known: Write may block
	announced bool       // the poller announced a close that Next has not reached yet
	passed    int        // opens and closes that Next has reached; if it moves, the poller's modem state is stale

	opened chan struct{} // one slot; wakes the poller after an open
	done   chan struct{} // closed by Close; ends the poller
	poller sync.WaitGroup
}

func (p *port) initPresence() {
	p.presence.opened, p.presence.done = make(chan struct{}, 1), make(chan struct{})
	p.dev.StopWrites(true)
}

// startPoller starts the poller if the pins show opens and closes. It ends with Close.
func (p *port) startPoller() {
	if p.open.known() {
		p.presence.poller.Go(p.poll)
	}
}

func (p *port) stopPoller() {
	close(p.presence.done)
	p.presence.poller.Wait()
}

// setPresent records whether somebody has the port open, and lets Write block or not. presence.mu is held.
func (p *port) setPresent(present bool) {
	p.presence.present = present
	p.dev.StopWrites(!present)
}

// reachedOpen is called when Next reaches an open. If an announced close has not been reached yet, the poller is ahead of
// the stream, and what it knows is newer.
func (p *port) reachedOpen() {
	s := &p.presence
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed++
	if !s.announced {
		p.setPresent(true)
	}
	select {
	case s.opened <- struct{}{}:
	default:
	}
}

// reachedClose is called when Next reaches a close. It announces it unless the poller has.
func (p *port) reachedClose() {
	s := &p.presence
	s.mu.Lock()
	announce := !s.announced
	s.passed++
	s.announced = false
	if announce {
		p.setPresent(false)
	}
	s.mu.Unlock()
	if announce {
		p.urgent(uart.Event{Kind: uart.KindClosed})
	}
}

// closeAnnounced reports whether the poller announced a close that Next has not reached.
func (p *port) closeAnnounced() bool {
	p.presence.mu.Lock()
	defer p.presence.mu.Unlock()
	return p.presence.announced
}

// poll is the poller: it reads the modem state every pollEvery while Next is not reading. It sleeps while nobody is there.
func (p *port) poll() {
	tick := time.NewTicker(pollEvery)
	tick.Stop()
	for ticking := false; ; {
		select {
		case <-p.presence.done:
			return
		case <-p.presence.opened:
		case <-tick.C:
			if err := p.checkPresence(); errors.Is(err, ErrDeviceClosed) {
				return
			}
		}
		if needed := p.pollNeeded(); needed != ticking {
			ticking = needed
			if needed {
				tick.Reset(pollEvery)
			} else {
				tick.Stop()
			}
		}
	}
}

// pollNeeded reports whether the poller may see something: somebody has the port open, or Next has yet to reach a close.
func (p *port) pollNeeded() bool {
	p.presence.mu.Lock()
	defer p.presence.mu.Unlock()
	return p.presence.present || p.presence.announced
}

// checkPresence notices a close before Next does, and an open after it.
func (p *port) checkPresence() error {
	s := &p.presence
	if s.reading.Load() {
		return nil
	}
	s.mu.Lock()
	passed := s.passed
	s.mu.Unlock()
	m, err := p.modemInputs()
	if err != nil {
		return err
	}
	open := p.open.on(m)

	s.mu.Lock()
	changed := s.passed == passed && open != s.present
	announce := changed && !open && !s.announced
	if changed {
		p.setPresent(open)
		s.announced = s.announced || !open
	}
	s.mu.Unlock()
	if announce {
		p.urgent(uart.Event{Kind: uart.KindClosed})
	}
	return nil
}

// modemInputs returns the current modem inputs of the agent's end.
func (p *port) modemInputs() (uart.ModemState, error) {
	var m [4]byte
	if _, err := p.dev.Ioctl(GetModemStatus, nil, m[:]); err != nil {
		return 0, err
	}
	return uart.ModemState(m[0]), nil
}
