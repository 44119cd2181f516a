package ordered

import "telnetcpc/bridge/uart"

// Received is what a UART has received and its reader has not taken: bytes, and line and modem states at their places
// between them. The zero value is empty.
type Received struct{ Stream[uart.Event] }

// Next removes what comes first: one event, or n bytes, which it moves into dst. A break comes with the NUL byte as which
// the UART received it (n is 1). The stream must not be empty, and dst not either.
func (r *Received) Next(dst []byte) (n int, e uart.Event) {
	n, e = r.Stream.Next(dst)
	if e.Kind != uart.KindLine || e.Line != uart.LineBreak {
		return n, e
	}
	if p := r.Run(); len(p) > 0 && p[0] == 0 {
		n = r.Take(dst[:1])
	}
	return n, e
}
