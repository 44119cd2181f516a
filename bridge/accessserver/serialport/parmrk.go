package serialport

import (
	"bytes"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// marks reads what PARMRK puts into the data (termios(3)): 0xFF 0x00 X for a byte X with a parity or framing error, with
// X = 0 for a break too, and 0xFF 0xFF for a good 0xFF. It keeps its state over any cut.
type marks struct {
	state markState
}

type markState uint8

const (
	plain     markState = iota
	escaped             // behind 0xFF
	erroneous           // behind 0xFF 0x00
)

const escape = 0xFF

// clean reports whether p means itself.
func (m *marks) clean(p []byte) bool { return m.state == plain && bytes.IndexByte(p, escape) < 0 }

// decode appends what p means to s. what says of an erroneous byte which error it was.
func (m *marks) decode(s *ordered.Received, p []byte, what func(b byte) uart.LineState) {
	for len(p) > 0 {
		if m.state == plain {
			n := bytes.IndexByte(p, escape)
			if n < 0 {
				s.Push(p)
				return
			}
			s.Push(p[:n])
			m.state, p = escaped, p[n+1:]
			continue
		}
		b := p[:1]
		p = p[1:]
		switch {
		case m.state == escaped && b[0] == 0:
			m.state = erroneous
			continue
		case m.state == erroneous:
			s.Add(lineEvent(what(b[0])))
		}
		// Behind 0xFF only 0xFF is left. Anything else means that a purge took the other half: it is a byte like any.
		m.state = plain
		s.Push(b)
	}
}

// lineErrors tells parity errors, framing errors and breaks apart, which PARMRK does not: by the driver's counters, which
// run ahead of the data.
type lineErrors struct {
	seen counts // of these the bytes have come, or are gone
}

// what is the error of a byte that is marked as erroneous. counted is false where the driver does not count: then it is
// guessed, a parity error where there is parity.
func (l *lineErrors) what(b byte, c counts, counted bool, parity uart.Parity) uart.LineState {
	switch {
	case b == 0 && (c.brk-l.seen.brk > 0 || !counted):
		l.seen.brk++
		return uart.LineBreak
	case c.frame-l.seen.frame > 0:
		l.seen.frame++
		return uart.LineFraming
	case c.parity-l.seen.parity > 0:
		l.seen.parity++
		return uart.LineParity
	case parity == uart.ParityNone:
		return uart.LineFraming
	}
	return uart.LineParity
}
