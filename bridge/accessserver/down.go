package accessserver

import (
	"errors"

	"telnetcpc/bridge/uart"
)

// carryDown is the way from the device. It goes on without the client, dropping, because a device that is not read may
// not send either. Its error is why the connection failed.
func (s *session) carryDown() (lost error) {
	lines := modemTeller{now: s.device.Modem, tell: func(m uart.ModemState) error {
		s.watch.show(nil, uart.Event{Kind: uart.KindModem, Modem: m})
		if lost != nil {
			return lost
		}
		return s.client.Modem(m)
	}}
	s.client.WhilePaused(lines.look)
	lost = lines.begin() // at once: clients wait for it
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
		s.watch.show(p, e)
		if lost == nil {
			lost = s.send(p, e)
		}
	}
}

// send gives the client bytes, or what the UART saw, a break with its NUL.
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

// modemTeller tells a client what the device drives: in its place among the bytes, or, while the client keeps bytes
// waiting, at once. What was told at once comes once more, in its place: that is not told again.
type modemTeller struct {
	now  func() uart.ModemState // the present state; it does not block
	tell func(uart.ModemState) error

	told  uart.ModemState
	ahead int // changes that were told and have not come in their place
}

// begin tells the present state.
func (t *modemTeller) begin() error {
	t.told = t.now()
	return t.tell(t.told)
}

// look tells the present state if it is news, ahead of its place.
func (t *modemTeller) look() error {
	m := t.now()
	if m == t.told {
		return nil
	}
	t.told = m
	t.ahead = min(t.ahead+1, uart.DeviceEvents-1) // devices keep no more, and merge the others
	return t.tell(m)
}

// event takes a change in its place. Where changes were told ahead of theirs, it is one of them: whether something else has
// come since then, the present state tells.
func (t *modemTeller) event(m uart.ModemState) error {
	if t.ahead > 0 {
		t.ahead--
		return t.look()
	}
	t.told = m
	return t.tell(m)
}
