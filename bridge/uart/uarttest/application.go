package uarttest

import (
	"io"
	"time"

	"telnetcpc/bridge/uart"
)

// What the application does to a Port: the test calls it.

// drainPause is how long a drain waits at most for Next until it asks Unsent again.
const drainPause = 20 * time.Millisecond

// AppOpen opens the port once more. The channel gets what the event's Ready is called with, where this open is the
// first and the port carries CarriesOpenWait; else nil at once. On a port that is retired or closed it gets
// io.ErrClosedPipe and nothing is opened.
func (p *Port) AppOpen() <-chan error {
	ready := make(chan error, 1)
	p.opening.Lock()
	defer p.opening.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || p.err != nil {
		ready <- io.ErrClosedPipe
		return ready
	}
	p.holders++
	p.changed.Broadcast()
	if p.holders > 1 {
		ready <- nil
		return ready
	}
	opened := uart.Event{Kind: uart.KindOpened}
	if p.fidelity.Carries(uart.CarriesOpenWait) {
		opened.Ready = func(err error) { ready <- err }
	} else {
		ready <- nil
	}
	p.push(opened)
	return ready
}

// AppClose closes the port once. The last close is called out by Urgent, then takes its place in the stream, behind the
// fall of the lines that are on (see AppHUPCL); what the application has not read is gone.
func (p *Port) AppClose() {
	p.opening.Lock()
	defer p.opening.Unlock()
	p.mu.Lock()
	if p.holders == 0 || p.err != nil {
		p.mu.Unlock()
		return
	}
	p.holders--
	if p.holders > 0 {
		p.mu.Unlock()
		return
	}
	p.down = nil
	closed := uart.Event{Kind: uart.KindClosed}
	p.changed.Broadcast()
	p.mu.Unlock()

	p.urgent(closed)

	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.keeps {
		p.lower()
	}
	p.push(closed)
}

// lower tells that the lines that are on fall; the lock is held.
func (p *Port) lower() {
	var fall uart.Control
	if p.driven.DTR == uart.LevelOn {
		fall.DTR = uart.LevelOff
	}
	if p.driven.RTS == uart.LevelOn {
		fall.RTS = uart.LevelOff
	}
	if fall != (uart.Control{}) {
		p.driven = fall.Over(p.driven)
		p.push(uart.Event{Kind: uart.KindSettings, Control: fall})
	}
}

// AppWrite writes bytes as an application does: it blocks while 64 KiB wait for Next, and fails with
// io.ErrClosedPipe on a port that is over or not open.
func (p *Port) AppWrite(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n < len(b) {
		for p.usable() && p.upBytes >= upLimit {
			p.changed.Wait()
		}
		if !p.usable() {
			return n, io.ErrClosedPipe
		}
		m := min(len(b)-n, upLimit-p.upBytes)
		p.pushData(b[n : n+m])
		n += m
	}
	return n, nil
}

// AppRead reads what the device sent: at least one byte, waiting for it; io.EOF when the port is over or not open.
func (p *Port) AppRead(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.usable() && len(p.down) == 0 {
		p.changed.Wait()
	}
	if !p.usable() {
		return 0, io.EOF
	}
	n := copy(b, p.down)
	p.down = p.down[n:]
	p.changed.Broadcast()
	return n, nil
}

// AppSet changes settings in one call. e.Kind need not be set. What the port's fidelity lacks is taken out; where
// nothing is left, nothing happens. Beyond 256 waiting events the change merges into the last event, counted by
// Merged, if that is a change of settings too.
func (p *Port) AppSet(e uart.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e = carried(p.fidelity, uart.Event{Kind: uart.KindSettings, Coding: e.Coding, Flow: e.Flow, Control: e.Control})
	if e.Coding == (uart.Coding{}) && e.Flow == (uart.Flow{}) && e.Control == (uart.Control{}) {
		return
	}
	p.driven = e.Control.Over(p.driven)
	if n := len(p.up); p.events >= eventLimit && p.up[n-1].event.Kind == uart.KindSettings {
		last := &p.up[n-1].event
		last.Coding, last.Flow = e.Coding.Over(last.Coding), e.Flow.Over(last.Flow)
		last.Control = e.Control.Over(last.Control)
		p.merged++
		return
	}
	p.push(e)
}

// AppHUPCL says whether DTR and RTS fall at the last close, as the termios flag does. They do, until it was switched off.
func (p *Port) AppHUPCL(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keeps = !on
}

// AppPurge discards what the device sent and nobody read (rx), what was written and Next has not returned (tx), or
// both. Where the port carries purges, Urgent is told, then the event takes its place in the stream.
func (p *Port) AppPurge(what uart.Purge) {
	e := uart.Event{Kind: uart.KindPurge, Purge: what}
	p.mu.Lock()
	if what&uart.PurgeRx != 0 {
		p.down = nil
	}
	if !p.fidelity.Carries(uart.CarriesPurge) {
		p.changed.Broadcast()
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()

	p.urgent(e)

	p.mu.Lock()
	defer p.mu.Unlock()
	if what&uart.PurgeTx != 0 {
		p.dropUp()
	}
	p.push(e)
}

// AppDrain waits, as tcdrain does, until Next has returned all bytes, what it lent has come back and Unsent says that
// the far UART is empty; or until Unsent says that no byte is waited for, whatever Next has not returned. It fails with
// io.ErrClosedPipe when the port is over. Where the port does not carry drains it returns at once.
func (p *Port) AppDrain() error {
	for {
		p.mu.Lock()
		waiting, over, carries := p.upBytes > 0 || p.lent != nil, p.err != nil, p.fidelity.Carries(uart.CarriesDrain)
		p.mu.Unlock()
		if over {
			return io.ErrClosedPipe
		}
		if !carries {
			return nil
		}
		var u uart.Unsent // asked behind the look: what has come back before is in it
		if p.config.Unsent != nil {
			u = p.config.Unsent()
		}
		switch {
		case u.Left < 0, u.Left == 0 && !waiting:
			return nil
		case waiting:
			p.waitForNext()
		default:
			again := time.NewTimer(u.Left)
			select {
			case <-again.C:
			case <-u.Changed:
			}
			again.Stop()
		}
	}
}

// waitForNext waits until no byte waits for Next and none is lent, or the port is over; for drainPause at most.
func (p *Port) waitForNext() {
	p.mu.Lock()
	defer p.mu.Unlock()
	over := false
	timer := time.AfterFunc(drainPause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		over = true
		p.changed.Broadcast()
	})
	defer timer.Stop()
	for p.err == nil && !over && (p.upBytes > 0 || p.lent != nil) {
		p.changed.Wait()
	}
}

// AppModem waits until the device's modem state is want, and returns at once where it is; false: the port is over.
func (p *Port) AppModem(want uart.ModemState) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && p.modem != want {
		p.changed.Wait()
	}
	return p.modem == want
}
