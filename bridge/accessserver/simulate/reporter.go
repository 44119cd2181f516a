package simulate

import (
	"context"

	"telnetcpc/bridge/uart"
)

// lineLimit is the longest line, in bytes, that a reporter keeps. The rest of a longer one is left out of the answer.
const lineLimit = 1 << 10

// Reporter simulates a UART connected to an instrument that answers each line of text with the line, a space and the
// current line coding: "07" with "07 4800 7E1". A line ends with CR or LF, and its answer ends likewise; CR LF is
// answered with CR LF. The answer proves that the settings arrived before the bytes.
//
// Everything else is as in Loopback, also the wiring of the pins; the instrument ignores breaks. The answers come at the
// speed of the line. While they are not read the instrument waits, and then the transmitter does too.
type Reporter struct{ Loopback }

// Open connects a client to a new UART and instrument, as Loopback's Open does.
func (r *Reporter) Open(ctx context.Context) (uart.Device, error) { return r.open(ctx, new(reporter)) }

// reporter is the instrument.
type reporter struct {
	line    []byte
	afterCR bool
}

// receive handles bytes from the line and appends the answers to answer.
func (r *reporter) receive(answer, p []byte, c uart.Coding) []byte {
	for _, b := range p {
		switch {
		case b == '\n' && r.afterCR:
			answer = append(answer, b) // CR LF is one line end
		case b == '\r' || b == '\n':
			answer = append(answer, r.line...)
			answer = append(answer, ' ')
			answer = append(answer, c.String()...)
			answer = append(answer, b)
			r.line = r.line[:0]
		case len(r.line) < lineLimit:
			r.line = append(r.line, b)
		}
		r.afterCR = b == '\r'
	}
	return answer
}
