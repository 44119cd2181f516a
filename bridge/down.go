package bridge

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"telnetcpc/bridge/uart"
)

// The path of a byte from the device, all of it in one goroutine:
//
//	conn.Read -> Session.Next -> down -> read -> Port.Write -> kernel -> application's read
//
// An application that does not read blocks Port.Write; then the session is not read, and the peer's TCP window closes. The
// access server holds its device back, or drops, as it would for any slow reader.

// down is started by serve. It ends when the port is closed and the session in hand has ended.
func (r *run) down() {
	for {
		select {
		case s := <-r.nextSession:
			r.read(s)
		case <-r.closed:
			return
		}
	}
}

// read reads one session to its end, and then closes it, so that nothing that arrived before the loss stays unread.
func (r *run) read(s *session) {
	defer s.Close()
	if r.reading.Store(s); r.stopReading.Load() {
		return // the shutdown did not see this session
	}
	for {
		p, e, err := s.Next()
		switch {
		case err != nil:
			s.fail(err)
			r.wakeRun()
			return
		case e.Kind != uart.KindData:
			r.fromDevice(s, e)
		default:
			r.deliver(s, p)
		}
	}
}

// deliver writes bytes to the application. After the port is closed it goes on and drops them: the answer to a mark may
// follow.
func (r *run) deliver(s *session, p []byte) {
	r.observers.data(Down, p)
	if r.isStale(s) {
		r.count.downDropped.Add(uint64(len(p)))
		r.staleDropped.Add(uint64(len(p)))
		return
	}
	n, err := r.port.Write(p)
	r.count.down.Add(uint64(n))
	r.count.downDropped.Add(uint64(len(p) - n))
	if err != nil {
		r.portLost(err)
	}
}

// isStale reports whether the device has sent what is read now before it can have received what was written before the
// last close. Such data was for the program that has closed the port, not for the next one: a UART whose close waits for
// its bytes discards it. It uses the earliest possible moment, so that the answer to the last byte is still delivered: a
// script may write in one open and read in the next. If the remote does not carry the baud rate, line times are unknown,
// and only bytes that have not left this side count as not received.
func (r *run) isStale(s *session) bool {
	visit := r.announced.closes.Load() // while the port is closed the host drops what comes
	if visit == s.cleanVisit {
		return false
	}
	if over := s.endedBefore.Load(); over != 0 && visit >= over {
		return true // the session ended before the port was opened
	}
	// Bytes before a close that Next has not returned may still be in the port. Once nothing but the fall of lines caused by
	// this close is waited for, all of them have been sent. If the port may report a close after bytes of the next program,
	// only the line time counts: the answer to those bytes belongs to that program.
	falling := r.fromUp.awaitingFall.Load()
	if seen := r.fromUp.closesSeen.Load(); r.exact && (visit > seen+1 || visit > seen && !falling) || r.link.holdsBefore(visit) {
		return true
	}
	if s.writing.Load() > 0 && s.writingVisit.Load() < visit { // their line time is counted when the Write returns
		return true
	}
	if s.Fidelity().Carries(uart.CarriesBaud) && !s.otherBaud && time.Now().Before(s.unsent.earliest(visit)) {
		return true
	}
	s.cleanVisit = visit
	r.logStale()
	return false
}

// logStale logs how many bytes of the device were dropped as stale.
func (r *run) logStale() {
	if n := r.staleDropped.Swap(0); n > 0 {
		r.log.Info("dropped the device's answers to bytes written before the last close", "dropped", n)
	}
}

// fromDevice handles an event of the session.
func (r *run) fromDevice(s *session, e uart.Event) {
	r.observers.event(Down, e)
	switch e.Kind {
	case uart.KindModem:
		r.modemChanged(s, e.Modem)
	case uart.KindLine:
		r.lineState(s, e.Line)
	case uart.KindSuspended, uart.KindResumed:
		r.suspended(s, e.Kind == uart.KindSuspended)
	case uart.KindMarked:
		s.markAnswered(e.Bytes)
		r.wakeRun()
	case uart.KindRefused:
		s.otherBaud = s.otherBaud || e.Coding.Baud != 0 && e.Answer != ""
		r.refused(e)
	case uart.KindChanged:
		r.changed(s, e)
	case uart.KindGreeting:
		r.greeted(e)
	}
}

// modemChanged shows the device's lines to the application. A state that is read after the end of its session is
// outdated: only DCD is kept, as at the end itself.
func (r *run) modemChanged(s *session, m uart.ModemState) {
	r.log.Debug("modem state", "lines", m.String())
	r.modem.mu.Lock()
	defer r.modem.mu.Unlock()
	if now := r.link.current.Load(); now != nil && now != s {
		return
	} else if now == nil {
		m &= uart.DCD
	}
	r.modem.device = m
	r.showModem()
}

// showLink shows the application whether a session is up. In a new session the device has reported nothing yet, so only
// DCD is kept of the old session's lines.
func (r *run) showLink(up bool) {
	r.modem.mu.Lock()
	defer r.modem.mu.Unlock()
	r.modem.linkUp = up
	r.modem.device &= uart.DCD
	r.showModem()
}

// showModem shows the device's lines to the application as the link and the policy require. The caller holds modem.mu.
func (r *run) showModem() {
	m := r.modem.device
	if !r.modem.linkUp {
		m &= uart.DCD
	}
	switch {
	case r.asleep.Load():
		m = 0
	case r.policy.DCD == DCDLink:
		m &^= uart.DCD
		if r.modem.linkUp {
			m |= uart.DCD
		}
	}
	r.status.update(func(s *Snapshot) { s.Modem = m })
	if err := r.port.SetModem(m); err != nil && !errors.Is(err, uart.ErrNotCarried) && !errors.Is(err, uart.ErrClosed) {
		r.peerLog.Warn("cannot set the port's modem state", "err", err)
	}
}

// suspended records that the access server has suspended or resumed data.
func (r *run) suspended(s *session, on bool) {
	s.suspend(on)
	if r.link.current.Load() == s {
		since := s.suspendedSince()
		r.status.update(func(b *Snapshot) {
			if r.link.current.Load() == s { // otherwise enter has cleared it, or is about to
				b.SuspendedSince = since
			}
		})
	}
	r.link.notify()
	r.wakeRun()
	r.log.Debug("access server's flow control", "suspended", on)
}

// changed logs, once for each coding, that another client has changed the line coding at the access server. That coding
// applies until the application requests one again.
func (r *run) changed(s *session, e uart.Event) {
	s.codingChanged(e.Coding)
	what := e.String()
	r.status.update(func(b *Snapshot) { b.Changed = e })
	if r.firstWarning(what) {
		r.peerLog.Warn("the access server's line coding was changed by someone else", "coding", e.Coding.String())
	}
}

// greetingsMost limits how many different greetings are logged at Info: a greeting may contain the time of day.
const greetingsMost = 4

// greeted counts and logs what an access server sent before it served us. The same text is logged once.
func (r *run) greeted(e uart.Event) {
	r.count.greetingDropped.Add(e.Bytes)
	level := slog.LevelDebug
	if r.greetingsLogged < greetingsMost && r.firstWarning(e.String()) {
		level = slog.LevelInfo
		r.greetingsLogged++
	}
	r.log.Log(context.Background(), level, "access server's greeting dropped (--quirk keep-greeting passes it to the application)", "dropped", e.Bytes, "text", e.Answer)
}

func (r *run) lineState(s *session, l uart.LineState) {
	if l&uart.LineTEMT != 0 {
		s.unsent.transmitterEmpty()
		s.notify()
	}
	if l &= uart.LineErrors; l == 0 || r.isStale(s) {
		return
	}
	r.log.Debug("line state", "state", l.String())
	if err := r.port.ReportLine(l); err != nil && !errors.Is(err, uart.ErrNotCarried) {
		r.portLost(err)
	}
}

// warningsMost limits how many different warnings are remembered, and logged.
const warningsMost = 64

// firstWarning reports whether this warning is new, and remembers it. It returns false once warningsMost are remembered.
func (r *run) firstWarning(what string) bool {
	if r.warned[what] || len(r.warned) >= warningsMost {
		return false
	}
	r.warned[what] = true
	return true
}

// refused logs, once for each setting, what the access server did not accept. A refusal never ends a session.
func (r *run) refused(e uart.Event) {
	what := e.String()
	if !r.firstWarning(what) {
		return
	}
	r.status.update(func(s *Snapshot) { s.Refused = append(s.Refused, what) })
	asked := settings{e.Coding, e.Flow, e.Control}
	if e.Answer == "" { // some servers never answer, some do not answer when nothing changes: it has probably taken effect
		r.peerLog.Info("access server did not answer a setting; going on", "asked", asked.String())
		return
	}
	r.peerLog.Warn("access server did not accept a setting; going on", "asked", asked.String(), "answer", e.Answer)
}
