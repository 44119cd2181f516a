package simulate

import (
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// unlimited is the baud rate from which on the line takes no time. No UART is that fast.
	unlimited = 20_000_000
	// tick is the shortest time between two moves of a busy line. At high rates several bytes move at once, as with a FIFO.
	tick = time.Millisecond
	// early is how much before its time a byte may move, because a timer for so short a time would fire much too late. The
	// error does not accumulate: the time of each byte counts from the start of the run.
	early = 100 * time.Microsecond
)

// transmitterEmpty is the line state that a device reports when the last bit has left.
const transmitterEmpty = uart.LineTEMT | uart.LineTHRE

// run moves bytes and injects when it is time. Open starts it, Close ends it.
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

// wakeRun makes run act now. It never blocks.
func (l *loop) wakeRun() {
	select {
	case l.wake <- struct{}{}:
	default: // run is about to act already
	}
}

// next returns when run has to act again; any is false if it need not. l.mu is held; transmit was called.
func (l *loop) next(now time.Time) (t time.Time, any bool) {
	for _, w := range []*lane{&l.tx, &l.back} {
		if w.moving {
			t, any = earlier(t, any, w.nextMove(l.inForce.Coding, now))
		}
	}
	if len(l.script) > 0 {
		t, any = earlier(t, any, l.opened.Add(l.script[0].At))
	}
	return t, any
}

func earlier(t time.Time, any bool, other time.Time) (time.Time, bool) {
	if any && t.Before(other) {
		return t, true
	}
	return other, true
}

// lane is one direction of a line: bytes, and the time that each of them takes.
type lane struct {
	buf    []byte    // not sent yet
	moving bool      // it is sending: buf is not empty and nothing stops it
	origin time.Time // start of the run: since then it has sent at one coding without a gap
	sent   int       // bytes since origin
}

// end returns when the nth byte in buf will have left; with n = 0, when the last one before buf did.
func (w *lane) end(c uart.Coding, n int) time.Time {
	if c.Baud >= unlimited {
		return w.origin
	}
	return w.origin.Add(c.LineTime(w.sent + n))
}

// due returns how many bytes will have left by t, if buf has so many.
func (w *lane) due(c uart.Coding, t time.Time) int {
	if c.Baud >= unlimited {
		return len(w.buf)
	}
	const many = 1 << 20 // the time of one byte in whole nanoseconds would be too coarse
	one := float64(c.LineTime(many)) / many
	return int(float64(t.Sub(w.origin))/one) - w.sent
}

// nextMove returns when to move bytes next.
func (w *lane) nextMove(c uart.Coding, now time.Time) time.Time {
	t := w.end(c, 1)
	if soonest := now.Add(tick); t.Before(soonest) {
		t = soonest
	}
	if last := w.end(c, len(w.buf)); last.Before(t) {
		t = last
	}
	return t
}

// start begins a run: now, or at the end of the last stop bit.
func (w *lane) start(c uart.Coding, now time.Time) {
	start := w.end(c, 0)
	if start.Before(now) {
		start = now
	}
	w.moving, w.origin, w.sent = true, start, 0
}

// stop ends a run after the bytes that have left. The next run has another coding, or begins later.
func (w *lane) stop(c uart.Coding) { w.moving, w.origin, w.sent = false, w.end(c, 0), 0 }

// remove removes n bytes that have left.
func (w *lane) remove(n int) {
	w.sent += n
	w.buf = append(w.buf[:0], w.buf[n:]...)
}

// room returns how many bytes the other end of the line can take.
func (l *loop) room() int {
	if l.device != nil {
		return receiveLimit - len(l.back.buf)
	}
	return receiveLimit - l.rx.Len()
}

// held reports whether a break or flow control stops the transmitter.
func (l *loop) held() bool {
	if l.inForce.Control.Break == uart.LevelOn || l.room() <= 0 {
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

// transmit starts or stops the transmitter and moves what has left by now to the other end of the line, then what the device
// there has sent to the receiver. l.mu is held.
func (l *loop) transmit(now time.Time) {
	defer l.moveBack(now)
	coding := l.inForce.Coding
	if l.tx.moving = l.tx.moving && !l.held(); !l.tx.moving {
		if len(l.tx.buf) == 0 || l.held() {
			return
		}
		l.tx.start(coding, now)
	}
	n := min(l.tx.due(coding, now.Add(early)), len(l.tx.buf), l.room())
	if n <= 0 {
		return
	}
	end, data := l.tx.end(coding, n), l.tx.buf[:n]
	l.record(end, uart.Event{}, data)
	for i := range data {
		data[i] &= byte(1<<coding.DataBits - 1)
	}
	if l.device != nil {
		l.back.buf = l.device.receive(l.back.buf, data, coding)
	} else {
		l.receive(uart.Event{}, data)
	}
	l.tx.remove(n)
	if len(l.tx.buf) == 0 {
		l.tx.moving = false
		l.receive(lineEvent(transmitterEmpty), nil)
	} else if l.held() {
		l.tx.moving = false
	}
}

// moveBack moves what the device at the other end has sent by now to the receiver. l.mu is held.
func (l *loop) moveBack(now time.Time) {
	coding := l.inForce.Coding
	room := receiveLimit - l.rx.Len()
	if l.back.moving = l.back.moving && room > 0; !l.back.moving {
		if len(l.back.buf) == 0 || room <= 0 {
			return
		}
		l.back.start(coding, now)
	}
	n := min(l.back.due(coding, now.Add(early)), len(l.back.buf), room)
	if n > 0 {
		l.receive(uart.Event{}, l.back.buf[:n])
		l.back.remove(n)
		l.back.moving = len(l.back.buf) > 0 && n < room
	}
}

// Unsent implements uart.Device.
func (l *loop) Unsent() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.transmit(now)
	n := len(l.tx.buf)
	switch {
	case n == 0:
		return 0
	case !l.tx.moving:
		return max(1, l.inForce.Coding.LineTime(n))
	}
	return max(1, l.tx.end(l.inForce.Coding, n).Sub(now))
}

// inject does what the script has up to now. l.mu is held.
func (l *loop) inject(now time.Time) {
	for len(l.script) > 0 && !l.opened.Add(l.script[0].At).After(now) {
		i := l.script[0]
		l.script = l.script[1:]
		if i.Event.Kind == uart.KindModem {
			l.setModem(i.Event.Modem)
			continue
		}
		room := max(0, receiveLimit-l.rx.Len())
		if room < len(i.Data) {
			l.receive(i.Event, i.Data[:room])
			l.receive(lineEvent(uart.LineOverrun), nil)
			continue
		}
		l.receive(i.Event, i.Data)
	}
}

// setModem sets the modem lines and reports a change. l.mu is held.
func (l *loop) setModem(modem uart.ModemState) {
	if modem != l.modem {
		l.modem = modem
		l.receive(uart.Event{Kind: uart.KindModem, Modem: modem}, nil)
	}
}

// receive queues an event, if its kind is not KindData, and bytes for Next. l.mu is held.
func (l *loop) receive(e uart.Event, p []byte) {
	switch {
	case e.Kind == uart.KindData:
	case e.Line == transmitterEmpty && l.rx.Last(func(e uart.Event, atEnd bool) bool {
		return e.Line == transmitterEmpty && atEnd
	}) != nil:
		// Reported already, and Next has not returned it yet.
	case l.rx.Items() < uart.DeviceEvents || e.Line == transmitterEmpty: // there is at most one of these for each byte
		l.rx.Add(e)
	default:
		// Next is not called often enough: merge, to bound the memory.
		same := l.rx.Last(func(other uart.Event, _ bool) bool { return other.Kind == e.Kind && other.Line != transmitterEmpty })
		if same == nil {
			l.rx.Add(e)
			break
		}
		same.Modem = e.Modem
		same.Line |= e.Line
	}
	l.rx.Push(p)
	l.changed.Broadcast()
}

func lineEvent(s uart.LineState) uart.Event { return uart.Event{Kind: uart.KindLine, Line: s} }

// record calls the observers. l.mu is held.
func (l *loop) record(at time.Time, e uart.Event, data []byte) {
	for _, observe := range l.observers {
		observe(Record{At: at.Sub(l.opened), Event: e, Data: data, Coding: l.inForce.Coding})
	}
}
