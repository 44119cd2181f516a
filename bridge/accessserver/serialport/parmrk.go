package serialport

import (
	"bytes"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// parmrk decodes what PARMRK puts into the data (termios(3)): 0xFF 0x00 X for a byte X with a parity or framing error, 0xFF
// 0x00 0x00 for a break too, and 0xFF 0xFF for a good 0xFF. Data may be cut anywhere between two calls.
type parmrk struct {
	state parmrkState
}

type parmrkState uint8

const (
	plain     parmrkState = iota
	escaped               // after 0xFF
	erroneous             // after 0xFF 0x00
)

const escape = 0xFF

// clean reports whether p needs no decoding.
func (m *parmrk) clean(p []byte) bool { return m.state == plain && bytes.IndexByte(p, escape) < 0 }

// decode appends what p means to s. classify returns which error a byte was received with.
func (m *parmrk) decode(s *ordered.Received, p []byte, classify func(b byte) uart.LineState) {
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
			s.Add(lineEvent(classify(b[0])))
		}
		// Only 0xFF can follow 0xFF here. If another byte does, a purge took the rest of the sequence, and the byte is data.
		m.state = plain
		s.Push(b)
	}
}

// lineErrors distinguishes parity errors, framing errors and breaks, which PARMRK does not. It uses the driver's
// counters, which run ahead of the data.
type lineErrors struct {
	seen counts // the errors whose bytes have been decoded, or were purged
}

// classify returns the error of byte b, which PARMRK reports as erroneous. c are the driver's counters; ok is false if it
// has none, and then the result is a guess: a parity error if there is parity.
func (l *lineErrors) classify(b byte, c counts, ok bool, parity uart.Parity) uart.LineState {
	switch {
	case b == 0 && (c.brk-l.seen.brk > 0 || !ok):
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
