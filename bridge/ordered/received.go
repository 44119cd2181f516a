package ordered

import "telnetcpc/bridge/uart"

// Received is what a UART has received and its reader has not taken: bytes, with the line and modem states between them
// in order. The zero value is empty.
type Received struct{ Stream[uart.Event] }

// Next removes what comes first: one event, or n bytes, which it moves into dst. A break comes with the NUL byte that the
// UART received with it (n is 1). The stream must not be empty, and dst not either.
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
