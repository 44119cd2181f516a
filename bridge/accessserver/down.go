package accessserver

import (
	"errors"

	"telnetcpc/bridge/uart"
)

// carryDown carries bytes and events from the device. When the client is gone it goes on and drops them, because a device that
// is not read may stop sending too. Its error is why the connection failed. run starts it.
func (s *session) carryDown() (lost error) {
	lines := modemReporter{now: s.device.Modem, report: func(m uart.ModemState) error {
		s.watchers.show(nil, uart.Event{Kind: uart.KindModem, Modem: m})
		if lost != nil {
			return lost
		}
		return s.client.Modem(m)
	}}
	s.client.WhilePaused(lines.reportNow)
	lost = lines.begin() // clients wait for it
	for {
		if lost != nil {
			s.reset.Store(true)
			s.leave()
		}
		p, e, err := s.device.Next()
		switch {
		case errors.Is(err, uart.ErrClosed):
			return lost
		case err != nil:
			s.fail(err)
			return lost
		case e.Kind == uart.KindModem:
			s.log.Debug(e.String())
			lost = lines.event(e.Modem)
			continue
		}
		s.watchers.show(p, e)
		if lost == nil {
			lost = s.send(p, e)
		}
	}
}

// send gives the client bytes, or a line event; a break has its NUL in p.
func (s *session) send(p []byte, e uart.Event) (err error) {
	n := 0
	switch e.Kind {
	case uart.KindData:
		n, err = s.client.Write(p)
	case uart.KindLine:
		if e.Line&uart.LineErrors != 0 {
			s.log.Debug(e.String())
		}
		if err = s.client.Line(e.Line); err == nil && len(p) > 0 {
			n, err = s.client.BreakNUL()
		}
	}
	s.down.Add(uint64(n))
	return err
}

// modemReporter reports the modem lines to a client: in order with the bytes, or at once while the client has suspended
// the data. A change that was reported at once is not reported again when its turn among the bytes comes.
type modemReporter struct {
	now    func() uart.ModemState // the present state; it does not block
	report func(uart.ModemState) error

	last  uart.ModemState // as reported
	ahead int             // changes that were reported at once and whose turn has not come
}

// begin reports the present state.
func (r *modemReporter) begin() error {
	r.last = r.now()
	return r.report(r.last)
}

// reportNow reports the present state at once if it has changed.
func (r *modemReporter) reportNow() error {
	m := r.now()
	if m == r.last {
		return nil
	}
	r.last = m
	r.ahead = min(r.ahead+1, uart.DeviceEvents-1) // a device keeps no more events, and merges the others
	return r.report(m)
}

// event reports a change whose turn has come. If changes were reported at once, it is one of them; then only the present
// state shows whether there is anything new.
func (r *modemReporter) event(m uart.ModemState) error {
	if r.ahead > 0 {
		r.ahead--
		return r.reportNow()
	}
	r.last = m
	return r.report(m)
}
