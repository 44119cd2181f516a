package uarttest

import (
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// More events than a host's queue holds: a program that changes lines faster than the session carries them, and a script
// that opens, writes and closes in a loop while the remote is away.

// testEdges: Next returns every change of DTR and RTS, in order, however many a program makes back to back: while there
// is a session the program has to wait. Without one it does not wait, and Next returns at least the last state.
func testEdges(b *bench) {
	const edges = 600 // more than any queue of events holds
	if b.patient() {
		return
	}
	b.lines = true
	b.start()
	p := b.openFirst()
	b.setLines(p)
	edge := func(i int) uart.Control { return uart.Control{DTR: uart.LevelOf(i%2 == 0)} }
	var made atomic.Int64
	makes := func() <-chan error {
		done := make(chan error, 1)
		go func() { // ends with the program or the port
			for i := range edges {
				if err := p.Set(uart.Event{Control: edge(i)}); err != nil {
					done <- err
					return
				}
				made.Add(1)
			}
			done <- nil
		}()
		return done
	}

	done := makes()
	if n := settles(made.Load); n == edges {
		b.Errorf("the program made %d changes of DTR without a Next and did not have to wait", n)
	}
	for i := range edges {
		if e := b.event(uart.KindSettings); e.Control.DTR != edge(i).DTR { // a host may report RTS too
			b.Fatalf("change %d: got %v, want %v", i, e, edge(i))
		}
	}
	b.must("change of DTR", <-done)

	b.away.Store(true)
	b.must("change of DTR", <-makes())
	b.must("change of RTS", p.Set(uart.Event{Control: uart.Control{RTS: uart.LevelOff}}))
	for b.event(uart.KindSettings).Control.RTS != uart.LevelOff {
	}
}

// patient returns Patient of Programs, if it has that method.
func (b *bench) patient() bool {
	p, ok := b.programs.(interface{ Patient() bool })
	return ok && p.Patient()
}

// setLines consumes the events of the open, and leaves DTR off and RTS on.
func (b *bench) setLines(p Program) {
	b.Helper()
	for _, c := range []uart.Control{{RTS: uart.LevelOff}, {RTS: uart.LevelOn}, {DTR: uart.LevelOff}} {
		b.must("control of lines", p.Set(uart.Event{Control: c}))
		for e := b.event(uart.KindSettings); c.Over(e.Control) != e.Control; {
			e = b.event(uart.KindSettings)
		}
	}
}

// testOpensInALoop: a script opens, writes and closes while Next is not called, and its opens wait for a session that
// never comes up: no open hangs, each is counted, no byte is lost, and few events are queued.
func testOpensInALoop(b *bench) {
	const (
		rounds    = 400
		maxEvents = 1100
	)
	if b.patient() {
		return
	}
	b.lines = true
	b.openWait = 2 * time.Millisecond
	b.away.Store(true)
	b.start()
	for range rounds {
		p, err := b.programs.Open(b.path)
		b.must("open", err)
		_, err = p.Write([]byte("x"))
		b.must("write", err)
		b.must("close", p.Close())
	}
	b.eventually("all closes are announced by Urgent", func() bool { return b.announced(uart.KindClosed) == rounds })
	opens, closes, bytes, events := 0, 0, 0, 0
	for closes < rounds {
		a := b.next()
		if bytes += len(a.data); a.event.Kind == uart.KindData {
			continue
		}
		events++
		switch a.event.Kind {
		case uart.KindOpened:
			opens++
		case uart.KindClosed:
			closes++
		}
		opens += int(a.event.Visits)
		closes += int(a.event.Visits)
	}
	if opens != rounds || closes != rounds || bytes != rounds || events > maxEvents {
		b.Errorf("got %d opens, %d closes, %d bytes and %d events from %d rounds", opens, closes, bytes, events, rounds)
	}
}
