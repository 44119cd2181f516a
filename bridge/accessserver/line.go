package accessserver

import (
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// unlimited is the baud rate from which on the line takes no time: no UART is that fast.
	unlimited = 20_000_000
	// tick is how often a busy line moves bytes at most: at high rates several at once, as a UART's FIFO does.
	tick = time.Millisecond
	// early is how long before its time a byte may be moved: a timer that short would come much too late. It does not
	// add up, for the time of each byte is counted from the start of the run.
	early = 100 * time.Microsecond
)

// emptied is what the line reports when the last bit has left.
const emptied = uart.LineTEMT | uart.LineTHRE

// run moves bytes and injects when their time has come. Open starts it, Close ends it.
func (l *loop) run() {
	defer close(l.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.wake:
		case <-l.done:
			return
		}
		l.mu.Lock()
		now := time.Now()
		l.inject(now)
		l.transmit(now)
		next, any := l.next(now)
		l.mu.Unlock()
		timer.Stop()
		if any {
			timer.Reset(next.Sub(now))
		}
	}
}

// look has run look again. It never blocks.
func (l *loop) look() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// next is when run has to look again. Called with mu held, after transmit.
func (l *loop) next(now time.Time) (t time.Time, any bool) {
	if l.moving {
		t, any = l.end(1), true
		if soonest := now.Add(tick); t.Before(soonest) {
			t = soonest
		}
		if last := l.end(len(l.tx)); last.Before(t) {
			t = last
		}
	}
	if len(l.script) > 0 {
		if at := l.opened.Add(l.script[0].At); !any || at.Before(t) {
			t, any = at, true
		}
	}
	return t, any
}

// end is when the nth byte from now will have left, or, with n = 0, the last one has.
func (l *loop) end(n int) time.Time {
	if l.inForce.Coding.Baud >= unlimited {
		return l.origin
	}
	return l.origin.Add(l.inForce.Coding.LineTime(l.sent + n))
}

// due is how many more bytes will have left by t, tx permitting.
func (l *loop) due(t time.Time) int {
	if l.inForce.Coding.Baud >= unlimited {
		return len(l.tx)
	}
	const many = 1 << 20 // one byte's time in whole nanoseconds would be too coarse
	one := float64(l.inForce.Coding.LineTime(many)) / many
	return int(float64(t.Sub(l.origin))/one) - l.sent
}

// held reports whether something keeps the transmitter from working.
func (l *loop) held() bool {
	if l.inForce.Control.Break == uart.LevelOn || len(l.rx.buf) >= receiveLimit {
		return true
	}
	switch l.inForce.Flow.Out {
	case uart.FlowRTSCTS:
		return l.modem&uart.CTS == 0
	case uart.FlowDSR:
		return l.modem&uart.DSR == 0
	case uart.FlowDCD:
		return l.modem&uart.DCD == 0
	}
	return false
}

// transmit starts or stops the transmitter as the state demands and moves what has left by now back to the receiver.
// Called with mu held.
func (l *loop) transmit(now time.Time) {
	if l.moving = l.moving && !l.held(); !l.moving {
		if len(l.tx) == 0 || l.held() {
			return
		}
		// It has stood still: a new run begins, now, or when the last byte's stop bit is over.
		start := l.end(0)
		if start.Before(now) {
			start = now
		}
		l.moving, l.origin, l.sent = true, start, 0
	}
	n := min(l.due(now.Add(early)), len(l.tx), receiveLimit-len(l.rx.buf))
	if n <= 0 {
		return
	}
	end, data := l.end(n), l.tx[:n]
	l.record(end, uart.Event{}, data)
	l.sent += n
	for i := range data {
		data[i] &= byte(1<<l.inForce.Coding.DataBits - 1)
	}
	l.receive(uart.Event{}, data)
	l.tx = append(l.tx[:0], l.tx[n:]...)
	if len(l.tx) == 0 {
		l.moving = false
		l.receive(lineEvent(emptied), nil)
	} else if l.held() {
		l.moving = false
	}
}

// Unsent is Device's.
func (l *loop) Unsent() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.transmit(now)
	switch {
	case len(l.tx) == 0:
		return 0
	case !l.moving:
		return max(1, l.inForce.Coding.LineTime(len(l.tx)))
	}
	return max(1, l.end(len(l.tx)).Sub(now))
}

// inject does what the script says for now and before. Called with mu held.
func (l *loop) inject(now time.Time) {
	for len(l.script) > 0 && !l.opened.Add(l.script[0].At).After(now) {
		i := l.script[0]
		l.script = l.script[1:]
		if i.Event.Kind == uart.KindModem {
			l.setModem(i.Event.Modem)
			continue
		}
		room := max(0, receiveLimit-len(l.rx.buf))
		if room < len(i.Data) {
			l.receive(i.Event, i.Data[:room])
			l.receive(lineEvent(uart.LineOverrun), nil)
			continue
		}
		l.receive(i.Event, i.Data)
	}
}

// setModem changes the lines of the device and reports the change. Called with mu held.
func (l *loop) setModem(modem uart.ModemState) {
	if modem != l.modem {
		l.modem = modem
		l.receive(uart.Event{Kind: uart.KindModem, Modem: modem}, nil)
	}
}

// receive puts an event, where its kind is not KindData, and bytes where Next finds them. Called with mu held.
func (l *loop) receive(e uart.Event, p []byte) {
	switch {
	case e.Kind == uart.KindData:
	case e.Line == emptied && l.rx.last(func(m mark[uart.Event]) bool {
		return m.what.Line == emptied && m.place == len(l.rx.buf)
	}) != nil:
		// It is said, and nobody has read it yet.
	case len(l.rx.marks) < eventLimit || e.Line == emptied: // of these there is one for a byte at most
		l.rx.add(e)
	default:
		// Nobody reads: what is known must stay bounded.
		same := l.rx.last(func(m mark[uart.Event]) bool { return m.what.Kind == e.Kind && m.what.Line != emptied })
		if same == nil {
			l.rx.add(e)
			break
		}
		same.what.Modem = e.Modem
		same.what.Line |= e.Line
	}
	l.rx.write(p)
	l.changed.Broadcast()
}

func lineEvent(s uart.LineState) uart.Event { return uart.Event{Kind: uart.KindLine, Line: s} }

// record tells the observers. Called with mu held.
func (l *loop) record(at time.Time, e uart.Event, data []byte) {
	for _, observe := range l.observers {
		observe(Record{At: at.Sub(l.opened), Event: e, Data: data, Coding: l.inForce.Coding})
	}
}
