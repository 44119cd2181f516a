package uarttest

import "telnetcpc/bridge/uart"

// HangUpper is a Program that can say whether DTR and RTS fall at the last close of its port: HUPCL. That outlives it. On a
// host that carries DTR and whose programs are none they always fall.
type HangUpper interface {
	HangUpOnClose(on bool) error
}

// testHangUpOnClose: where the lines fall at the last close, that is told before it, so that whoever reads the stream
// knows what the close means. Where a program has said that they shall not, nothing is told, and they stay as they were
// over the next open.
func testHangUpOnClose(b *bench) {
	b.start()
	b.lines = true
	l := &listener{bench: b, dtr: uart.LevelOff}
	p := b.first()
	l.raises(p)
	l.closes(p, uart.LevelOff, "as at first")

	p = b.first()
	l.raises(p)
	h, ok := p.(HangUpper)
	if !ok {
		l.closes(p, uart.LevelOff, "again")
		return
	}
	b.does("change of HUPCL", h.HangUpOnClose(false))
	for range 2 {
		l.closes(p, uart.LevelOn, "without HUPCL")
		p = b.first()
		for _, e := range l.marker(p) {
			if e.Control.DTR == uart.LevelOff || e.Control.RTS == uart.LevelOff {
				b.Errorf("%v behind the open: the lines should have stayed", e)
			}
		}
	}
	b.does("change of HUPCL", p.(HangUpper).HangUpOnClose(true))
	l.closes(p, uart.LevelOff, "with HUPCL again")
}

// listener knows DTR as last told.
type listener struct {
	*bench
	dtr uart.Level
}

func (l *listener) hears(e uart.Event) { l.dtr = e.Control.Over(uart.Control{DTR: l.dtr}).DTR }

// marker takes what is told before the program's next bytes.
func (l *listener) marker(p Program) []uart.Event {
	l.Helper()
	done := l.write(p, []byte("marker"))
	events := l.data([]byte("marker"))
	for _, e := range events {
		l.hears(e)
	}
	l.does("write", <-done)
	return events
}

// raises has a program drive both lines.
func (l *listener) raises(p Program) {
	l.Helper()
	l.does("control of lines", p.Set(uart.Event{Control: uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn}}))
	if l.marker(p); l.dtr != uart.LevelOn {
		l.Errorf("DTR as last told behind its rise: %v, want on", l.dtr)
	}
}

// closes closes by the last program, behind which DTR must be as want says.
func (l *listener) closes(p Program, want uart.Level, when string) {
	l.Helper()
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	for kind := uart.KindData; kind != uart.KindClosed; {
		e := l.next().event
		l.hears(e)
		kind = e.Kind
	}
	l.does("close", <-closed)
	if l.dtr != want {
		l.Errorf("DTR as last told at the close, %s: %v, want %v", when, l.dtr, want)
	}
}
