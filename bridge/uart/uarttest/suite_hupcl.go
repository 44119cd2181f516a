package uarttest

import "telnetcpc/bridge/uart"

// HangUpper is a Program that can set whether DTR and RTS fall at the last close of its port: HUPCL. The setting outlives
// the program. On a host that carries DTR and whose programs do not implement HangUpper they always fall.
type HangUpper interface {
	HangUpOnClose(on bool) error
}

// testHangUpOnClose: if the lines fall at the last close, Next returns the event for that before the close, so that the
// lines are known at the close. If a program has cleared HUPCL, there is no such event, and the lines keep their state
// through the next open.
func testHangUpOnClose(b *bench) {
	b.start()
	b.lines = true
	w := &dtrWatch{bench: b, dtr: uart.LevelOff}
	p := b.openFirst()
	w.raises(p)
	w.closes(p, uart.LevelOff, "by default")

	p = b.openFirst()
	w.raises(p)
	h, ok := p.(HangUpper)
	if !ok {
		w.closes(p, uart.LevelOff, "again")
		return
	}
	b.must("change of HUPCL", h.HangUpOnClose(false))
	for range 2 {
		w.closes(p, uart.LevelOn, "without HUPCL")
		p = b.openFirst()
		for _, e := range w.probe(p) {
			if e.Control.DTR == uart.LevelOff || e.Control.RTS == uart.LevelOff {
				b.Errorf("%v after the open: the lines should have kept their state", e)
			}
		}
	}
	b.must("change of HUPCL", p.(HangUpper).HangUpOnClose(true))
	w.closes(p, uart.LevelOff, "with HUPCL again")
}

// dtrWatch follows DTR as the events report it.
type dtrWatch struct {
	*bench
	dtr uart.Level
}

func (w *dtrWatch) record(e uart.Event) { w.dtr = e.Control.Over(uart.Control{DTR: w.dtr}).DTR }

// probe returns the events that come before the program's next bytes.
func (w *dtrWatch) probe(p Program) []uart.Event {
	w.Helper()
	done := w.write(p, []byte("probe"))
	events := w.data([]byte("probe"))
	for _, e := range events {
		w.record(e)
	}
	w.must("write", <-done)
	return events
}

// raises makes a program raise both lines.
func (w *dtrWatch) raises(p Program) {
	w.Helper()
	w.must("control of lines", p.Set(uart.Event{Control: uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn}}))
	if w.probe(p); w.dtr != uart.LevelOn {
		w.Errorf("DTR after it was raised: got %v, want on", w.dtr)
	}
}

// closes closes the last program, after which DTR must be as wanted.
func (w *dtrWatch) closes(p Program, want uart.Level, when string) {
	w.Helper()
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	for kind := uart.KindData; kind != uart.KindClosed; {
		e := w.next().event
		w.record(e)
		kind = e.Kind
	}
	w.must("close", <-closed)
	if w.dtr != want {
		w.Errorf("DTR at the close, %s: got %v, want %v", when, w.dtr, want)
	}
}
