package bridge

import (
	"errors"

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
	r.reading.Store(s)
	defer s.Close()
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
			r.deliver(p)
		}
	}
}

// deliver gives bytes to the application. After the port is closed it goes on, dropping: a mark may be on its way.
func (r *run) deliver(p []byte) {
	r.tap.data(Down, p)
	n, err := r.port.Write(p)
	r.count.down.Add(uint64(n))
	r.count.downDropped.Add(uint64(len(p) - n))
	if err != nil {
		r.portLost(err)
	}
}

// fromDevice does what an event of the session means.
func (r *run) fromDevice(s *session, e uart.Event) {
	r.tap.event(Down, e)
	switch e.Kind {
	case uart.KindModem:
		r.modemMu.Lock()
		r.device = e.Modem
		r.showModem(!s.failed())
		r.modemMu.Unlock()
		r.log.Debug("modem state", "lines", e.Modem.String())
	case uart.KindLine:
		r.lineState(e.Line)
	case uart.KindSuspended, uart.KindResumed:
		s.suspended.Store(e.Kind == uart.KindSuspended)
		r.link.wakeUp()
		r.log.Debug("access server " + e.Kind.String() + " data")
	case uart.KindMarked:
		r.unsent.answered(e.Bytes)
		r.link.wakeUp()
		r.kickRun()
	case uart.KindRefused:
		r.refused(e)
	}
}

func (r *run) lineState(l uart.LineState) {
	if l&uart.LineTEMT != 0 {
		r.unsent.transmitterEmpty()
	}
	if l &= uart.LineErrors; l == 0 {
		return
	}
	r.log.Debug("line state", "state", l.String())
	if err := r.port.ReportLine(l); err != nil && !errors.Is(err, uart.ErrNotCarried) {
		r.portLost(err)
	}
}

// saidMost bounds how many different warnings are remembered, and given.
const saidMost = 64

// refused says once what the access server did not accept. It never ends a session.
func (r *run) refused(e uart.Event) {
	what := e.String()
	if r.said[what] || len(r.said) >= saidMost {
		return
	}
	r.said[what] = true
	r.board.set(func(s *Snapshot) { s.Refused = append(s.Refused, what) })
	asked := settings{e.Coding, e.Flow, e.Control}
	if e.Answer == "" { // some servers never answer, some do not where nothing changes: it is probably in force
		r.log.Info("access server did not answer a setting; going on", "asked", asked.String())
		return
	}
	r.log.Warn("access server did not accept a setting; going on", "asked", asked.String(), "answer", e.Answer)
}
