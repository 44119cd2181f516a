package uarttest

import (
	"io"
	"time"

	"telnetcpc/bridge/uart"
)

// What the application does to a Port. The test calls these methods.

// drainPause is how long a drain waits for Next before it calls Unsent again.
const drainPause = 20 * time.Millisecond

// AppOpen opens the port once more. If this open is the first and the port has CarriesOpenWait, the channel receives what
// the event's Ready is called with; else nil at once. On a retired or closed port it receives io.ErrClosedPipe, and the
// port is not opened.
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

// AppClose undoes one AppOpen. The last close is announced by Urgent, then queued for Next, after the event that turns
// off DTR and RTS (see AppHUPCL); what the application has not read is discarded.
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
	if !p.hupclOff {
		p.lower()
	}
	p.push(closed)
}

// lower queues an event that turns off the lines that are on; the caller holds mu.
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

// AppWrite writes bytes as an application does: it blocks while upLimit bytes wait for Next, and fails with
// io.ErrClosedPipe on a port that has ended or is not open.
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

// AppRead reads what the device sent: it waits for at least one byte; io.EOF if the port has ended or is not open.
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

// AppSet changes settings in one call. e.Kind need not be set. What the port's fidelity lacks is removed; if nothing is
// left, nothing happens. With eventLimit events queued the change merges into the last event if that is a change of
// settings too; Merged counts these merges.
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

// AppHUPCL sets whether DTR and RTS fall at the last close, as the termios flag does. They do by default.
func (p *Port) AppHUPCL(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hupclOff = !on
}

// AppPurge discards what the device sent and the application has not read (rx), what was written and Next has not returned
// (tx), or both. If the port carries purges, Urgent announces it, then the event is queued for Next.
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

// AppDrain waits, as tcdrain does, until Next has returned all bytes, the caller of Next has returned the lent ones,
// and Unsent reports that the far UART is empty; or until Unsent reports that nothing should wait (Left < 0), whatever
// is queued. It fails with io.ErrClosedPipe when the port has ended. If the port does not carry drains it returns at
// once.
func (p *Port) AppDrain() error {
	for {
		p.mu.Lock()
		waiting, ended, carries := p.upBytes > 0 || p.lent != nil, p.err != nil, p.fidelity.Carries(uart.CarriesDrain)
		p.mu.Unlock()
		if ended {
			return io.ErrClosedPipe
		}
		if !carries {
			return nil
		}
		var u uart.Unsent // called after waiting was read, so that it counts all bytes that were returned by then
		if p.config.Unsent != nil {
			u = p.config.Unsent()
		}
		switch {
		case u.Left < 0, u.Left == 0 && !waiting:
			return nil
		case waiting:
			p.waitForNext()
		default:
			timer := time.NewTimer(u.Left)
			select {
			case <-timer.C:
			case <-u.Changed:
			}
			timer.Stop()
		}
	}
}

// waitForNext waits until no byte is queued or lent, or the port has ended; at most for drainPause.
func (p *Port) waitForNext() {
	p.mu.Lock()
	defer p.mu.Unlock()
	timedOut := false
	timer := time.AfterFunc(drainPause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		timedOut = true
		p.changed.Broadcast()
	})
	defer timer.Stop()
	for p.err == nil && !timedOut && (p.upBytes > 0 || p.lent != nil) {
		p.changed.Wait()
	}
}

// AppModem waits until the device's modem state is want; false: the port has ended before.
func (p *Port) AppModem(want uart.ModemState) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && p.modem != want {
		p.changed.Wait()
	}
	return p.modem == want
}
