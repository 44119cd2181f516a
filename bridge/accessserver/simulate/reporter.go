package simulate

import (
	"context"

	"telnetcpc/bridge/uart"
)

// lineMost bounds the line that a reporter keeps: what is longer is cut, and answered without the rest.
const lineMost = 1 << 10

// Reporter simulates a UART with an instrument at its line, which answers each line that it hears with the line, a space
// and the line coding in force: "07" with "07 4800 7E1". A line ends with CR or LF, and so does its answer; CR and LF
// come back as CR and LF. Whoever reads the answer knows that his settings arrived before his bytes.
//
// Everything else is as with Loopback, the wiring of the pins too; a break is not heard. The answers come at the speed
// of the line; while nobody takes them the instrument waits, and then the transmitter does.
type Reporter struct{ Loopback }

// Open connects a client to a fresh UART and instrument, as Loopback's Open does.
func (r *Reporter) Open(ctx context.Context) (uart.Device, error) { return r.open(ctx, new(reporter)) }

// reporter is the instrument.
type reporter struct {
	line    []byte
	afterCR bool
}

// hear takes bytes from the line, and appends what the instrument answers.
func (r *reporter) hear(answer, p []byte, c uart.Coding) []byte {
	for _, b := range p {
		switch {
		case b == '\n' && r.afterCR:
			answer = append(answer, b) // it belongs to the CR
		case b == '\r' || b == '\n':
			answer = append(answer, r.line...)
			answer = append(answer, ' ')
			answer = append(answer, c.String()...)
			answer = append(answer, b)
			r.line = r.line[:0]
		case len(r.line) < lineMost:
			r.line = append(r.line, b)
		}
		r.afterCR = b == '\r'
	}
	return answer
}
