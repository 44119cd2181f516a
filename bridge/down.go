package bridge

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"telnetcpc/bridge/uart"
)

// The way of a byte from the device, all of it in one goroutine:
//
//	conn.Read -> Session.Next -> down -> read -> Port.Write -> kernel -> application's read
//
// An application that does not read blocks Port.Write, so the session is not read, so the peer's TCP window closes: the
// access server holds its device back, or drops, as it would for any slow reader.

// down is started by serve and ends when the port is closed and the session in hand has ended.
func (r *run) down() {
	for {
		select {
		case s := <-r.next:
			r.read(s)
		case <-r.done:
			return
		}
	}
}

// read carries one session to its end, and closes it: nothing that came before the loss is left unread.
func (r *run) read(s *session) {
	defer s.Close()
	if r.reading.Store(s); r.unread.Load() {
		return // the end has come and did not see this one
	}
	for {
		p, e, err := s.Next()
		switch {
		case err != nil:
			s.fail(err)
			r.kickRun()
			return
		case e.Kind != uart.KindData:
			r.fromDevice(s, e)
		default:
			r.deliver(s, p)
		}
	}
}

// deliver gives bytes to the application. After the port is closed it goes on, dropping: a mark may be on its way.
func (r *run) deliver(s *session, p []byte) {
	r.tap.data(Down, p)
	if r.tooEarly(s) {
		r.count.downDropped.Add(uint64(len(p)))
		r.early.Add(uint64(len(p)))
		return
	}
	n, err := r.port.Write(p)
	r.count.down.Add(uint64(n))
	r.count.downDropped.Add(uint64(len(p) - n))
	if err != nil {
		r.portLost(err)
	}
}

// tooEarly reports whether the device has said before what was written before the last close can have come to it what is
// read now. That was for the program that has closed the port, and is not the next one's: a UART whose close waits for its
// bytes throws it away. The earliest moment counts, so that an answer to the last byte is still heard: a script writes by
// one open and reads by the next. Where the remote knows no line its time is nobody's: then only bytes that are still here
// count.
func (r *run) tooEarly(s *session) bool {
	visit := r.closesCalled.Load() // as long as nobody opens the port the host drops what comes
	if visit == s.clean {
		return false
	}
	if over := s.over.Load(); over != 0 && visit >= over {
		return true // the session had ended when the port was opened
	}
	// Bytes before a close that has not come from the port may be in it still. While only the fall that comes of that close
	// is waited for they have all been given. Where the port may say a close after bytes of the next program only their
	// time counts: the answer to them is that one's.
	falling := r.falling.Load()
	if seen := r.closesSeen.Load(); r.exact && (visit > seen+1 || visit > seen && !falling) || r.link.holdsBefore(visit) {
		return true
	}
	if s.writing.Load() > 0 && s.wrote.Load() < visit { // their line's time begins when that returns
		return true
	}
	if s.Fidelity().Carries(uart.CarriesBaud) && !s.otherBaud && time.Now().Before(s.unsent.earliest(visit)) {
		return true
	}
	s.clean = visit
	r.sayEarly()
	return false
}

// sayEarly says how much of the device was dropped by tooEarly.
func (r *run) sayEarly() {
	if n := r.early.Swap(0); n > 0 {
		r.log.Info("the device's answers to what was written before the last close are dropped", "dropped", n)
	}
}

// fromDevice does what an event of the session means.
func (r *run) fromDevice(s *session, e uart.Event) {
	r.tap.event(Down, e)
	switch e.Kind {
	case uart.KindModem:
		r.modem(s, e.Modem)
	case uart.KindLine:
		r.lineState(s, e.Line)
	case uart.KindSuspended, uart.KindResumed:
		r.suspended(s, e.Kind == uart.KindSuspended)
	case uart.KindMarked:
		s.marked(e.Bytes)
		r.kickRun()
	case uart.KindRefused:
		s.otherBaud = s.otherBaud || e.Coding.Baud != 0 && e.Answer != ""
		r.refused(e)
	case uart.KindChanged:
		r.changed(s, e)
	case uart.KindGreeting:
		r.greeted(e)
	}
}

// modem shows the device's lines. What is read late of a session that is lost or left is of yesterday: only DCD is kept of
// it, as of its end itself.
func (r *run) modem(s *session, m uart.ModemState) {
	r.log.Debug("modem state", "lines", m.String())
	r.modemMu.Lock()
	defer r.modemMu.Unlock()
	if now := r.link.cur.Load(); now != nil && now != s {
		return
	} else if now == nil {
		m &= uart.DCD
	}
	r.device = m
	r.showModem()
}

// showLink shows the application that a session stands, or does not. A new session's device has said nothing yet: of the
// old one's lines only DCD is kept.
func (r *run) showLink(stands bool) {
	r.modemMu.Lock()
	defer r.modemMu.Unlock()
	r.shows = stands
	r.device &= uart.DCD
	r.showModem()
}

// showModem shows the device's lines to the application as the link and the policy let them appear. The caller holds
// modemMu.
func (r *run) showModem() {
	m := r.device
	if !r.shows {
		m &= uart.DCD
	}
	switch {
	case r.asleep.Load():
		m = 0
	case r.policy.DCD == DCDLink:
		m &^= uart.DCD
		if r.shows {
			m |= uart.DCD
		}
	}
	r.board.set(func(s *Snapshot) { s.Modem = m })
	if err := r.port.SetModem(m); err != nil && !errors.Is(err, uart.ErrNotCarried) && !errors.Is(err, uart.ErrClosed) {
		r.far.Warn("modem state not shown", "err", err)
	}
}

// suspended takes the access server's word that it takes no data, or does again.
func (r *run) suspended(s *session, on bool) {
	s.suspend(on)
	if r.link.cur.Load() == s {
		since := s.suspendedSince()
		r.board.set(func(b *Snapshot) {
			if r.link.cur.Load() == s { // else enter has cleared it, or is about to
				b.SuspendedSince = since
			}
		})
	}
	r.link.wake()
	r.kickRun()
	r.log.Debug("access server's data", "suspended", on)
}

// changed says once what somebody has changed at the access server. It is in force until the application asks again.
func (r *run) changed(s *session, e uart.Event) {
	s.changed(e.Coding)
	what := e.String()
	r.board.set(func(b *Snapshot) { b.Changed = e })
	if r.unsaid(what) {
		r.far.Warn("the access server's line coding was changed, and not from here", "coding", e.Coding.String())
	}
}

// greetingsMost bounds how many different greetings are news: one may have the time of day in it.
const greetingsMost = 4

// greeted counts what an access server said before it served us. The same text at each session is said once.
func (r *run) greeted(e uart.Event) {
	r.count.greetingDropped.Add(e.Bytes)
	level := slog.LevelDebug
	if r.greetings < greetingsMost && r.unsaid(e.String()) {
		level = slog.LevelInfo
		r.greetings++
	}
	r.log.Log(context.Background(), level, "access server's greeting dropped (--quirk keep-greeting gives it to the application)", "dropped", e.Bytes, "text", e.Answer)
}

func (r *run) lineState(s *session, l uart.LineState) {
	if l&uart.LineTEMT != 0 {
		s.unsent.transmitterEmpty()
		s.look()
	}
	if l &= uart.LineErrors; l == 0 || r.tooEarly(s) {
		return
	}
	r.log.Debug("line state", "state", l.String())
	if err := r.port.ReportLine(l); err != nil && !errors.Is(err, uart.ErrNotCarried) {
		r.portLost(err)
	}
}

// saidMost bounds how many different warnings are remembered, and given.
const saidMost = 64

// unsaid reports whether what was not said before, and can be remembered to be said.
func (r *run) unsaid(what string) bool {
	if r.said[what] || len(r.said) >= saidMost {
		return false
	}
	r.said[what] = true
	return true
}

// refused says once what the access server did not accept. It never ends a session.
func (r *run) refused(e uart.Event) {
	what := e.String()
	if !r.unsaid(what) {
		return
	}
	r.board.set(func(s *Snapshot) { s.Refused = append(s.Refused, what) })
	asked := settings{e.Coding, e.Flow, e.Control}
	if e.Answer == "" { // some servers never answer, some do not where nothing changes: it is probably in force
		r.far.Info("access server did not answer a setting; going on", "asked", asked.String())
		return
	}
	r.far.Warn("access server did not accept a setting; going on", "asked", asked.String(), "answer", e.Answer)
}
