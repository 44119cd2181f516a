package wincom

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// Whether the application has its end open. The stream says so in its place; but while Next is not called, because the
// bytes before have nowhere to go, nobody reads the stream. The driver's modem status says it at once.

// lookEvery is how often the modem status is looked at while the port is open and Next is not called.
const lookEvery = 200 * time.Millisecond

// life is shared by Next, the watch and Write.
type life struct {
	waiting atomic.Bool // Next waits for the stream: it sees a close itself

	mu      sync.Mutex // makes "what is known, and who is told of it" one step
	present bool       // somebody has the port open, as far as is known: Write may wait
	ahead   bool       // a close was called out that Next has not come to
	turns   int        // opens and closes that Next has come to; what the watch saw before is stale

	wake  chan struct{} // one slot: the port was opened
	done  chan struct{} // closed by Close
	watch sync.WaitGroup
}

func (p *port) lifeInit() {
	p.wake, p.done = make(chan struct{}, 1), make(chan struct{})
	p.dev.StopWrites(true)
}

// lifeStart starts the watch where there is something to see. It ends with the port.
func (p *port) lifeStart() {
	if p.open.known() {
		p.watch.Go(p.watches)
	}
}

func (p *port) lifeEnd() {
	close(p.done)
	p.watch.Wait()
}

// be says whether somebody has the port open; mu is held.
func (p *port) be(present bool) {
	p.present = present
	p.dev.StopWrites(!present)
}

// sawOpen: Next has come to an open. Where its close was called out already it is long over.
func (p *port) sawOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turns++
	if !p.ahead {
		p.be(true)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// sawClose: Next has come to a close, which is called out unless it was already.
func (p *port) sawClose() {
	p.mu.Lock()
	called := p.ahead
	p.turns++
	p.ahead = false
	if !called {
		p.be(false)
	}
	p.mu.Unlock()
	if !called {
		p.urgent(uart.Event{Kind: uart.KindClosed})
	}
}

// calledAhead reports whether a close was called out that Next has not come to.
func (p *port) calledAhead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ahead
}

// watches looks at the modem status while Next cannot.
func (p *port) watches() {
	tick := time.NewTicker(lookEvery)
	tick.Stop()
	for ticking := false; ; {
		select {
		case <-p.done:
			return
		case <-p.wake:
		case <-tick.C:
			if err := p.lookAhead(); errors.Is(err, ErrDeviceClosed) {
				return
			}
		}
		if open := p.known(); open != ticking {
			ticking = open
			if open {
				tick.Reset(lookEvery)
			} else {
				tick.Stop()
			}
		}
	}
}

// known reports whether there may be something to see: somebody is there, or Next has yet to come to a close.
func (p *port) known() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.present || p.ahead
}

// lookAhead sees a close before Next does, and an open behind it.
func (p *port) lookAhead() error {
	if p.waiting.Load() {
		return nil
	}
	p.mu.Lock()
	turns := p.turns
	p.mu.Unlock()
	m, err := p.status()
	if err != nil {
		return err
	}
	open := p.open.on(m)

	p.mu.Lock()
	stale := p.turns != turns || open == p.present
	calls := !stale && !open && !p.ahead
	if !stale {
		p.be(open)
		p.ahead = p.ahead || !open
	}
	p.mu.Unlock()
	if calls {
		p.urgent(uart.Event{Kind: uart.KindClosed})
	}
	return nil
}

// status is the modem status of the agent's end now.
func (p *port) status() (uart.ModemState, error) {
	var m [4]byte
	if _, err := p.dev.Ioctl(GetModemStatus, nil, m[:]); err != nil {
		return 0, err
	}
	return uart.ModemState(m[0]), nil
}
