package uarttest

import (
	"errors"
	"io"

	"telnetcpc/bridge/uart"
)

// checkClaimed fails the test if an event reports what the host does not claim to carry.
func (b *bench) checkClaimed(e uart.Event) {
	b.Helper()
	f := b.host.Fidelity()
	for feature, reported := range map[uart.Fidelity]bool{
		uart.CarriesBaud:      e.Coding.Baud != 0,
		uart.CarriesDataBits:  e.Coding.DataBits != 0,
		uart.CarriesSixBits:   e.Coding.DataBits == 6,
		uart.CarriesParity:    e.Coding.Parity != 0,
		uart.CarriesStopBits:  e.Coding.StopBits != 0,
		uart.CarriesFlow:      e.Flow != (uart.Flow{}),
		uart.CarriesDTR:       e.Control.DTR != 0,
		uart.CarriesRTS:       e.Control.RTS != 0,
		uart.CarriesBreak:     e.Control.Break != 0,
		uart.CarriesPurge:     e.Kind == uart.KindPurge,
		uart.CarriesOpenWait:  e.Ready != nil,
		uart.CarriesFlowApart: apart(e.Flow),
	} {
		if reported && !f.Carries(feature) {
			b.Errorf("next: got %v, but the host does not claim to carry %v", e, feature)
		}
	}
	if e.Kind > uart.KindPurge {
		b.Errorf("next: got %v, which is an event of a session", e)
	}
}

// testFidelityConstant: a port carries what its host claims, also after Close.
func testFidelityConstant(b *bench) {
	b.start()
	want := b.host.Fidelity()
	b.openFirst()
	if got := b.port.Fidelity(); got != want {
		b.Errorf("fidelity of an open port: got %v, want the host's %v", got, want)
	}
	b.closePort()
	if got := b.port.Fidelity(); got != want {
		b.Errorf("fidelity of a closed port: got %v, want the host's %v", got, want)
	}
}

// testCoding: Next reports a change of each claimed part of a line coding, and no other one.
func testCoding(b *bench) {
	b.start()
	p := b.openFirst()
	for _, tt := range []struct {
		feature uart.Fidelity
		coding  uart.Coding
	}{
		{uart.CarriesBaud, uart.Coding{Baud: 300}},
		{uart.CarriesBaud, uart.Coding{Baud: 115200}},
		{uart.CarriesBaud, uart.Coding{Baud: 31250}}, // MIDI: not in POSIX
		{uart.CarriesDataBits, uart.Coding{DataBits: 7}},
		{uart.CarriesDataBits, uart.Coding{DataBits: 5}},
		{uart.CarriesSixBits, uart.Coding{DataBits: 6}},
		{uart.CarriesDataBits, uart.Coding{DataBits: 8}},
		{uart.CarriesParity, uart.Coding{Parity: uart.ParityOdd}},
		{uart.CarriesParity, uart.Coding{Parity: uart.ParityEven}},
		{uart.CarriesParity, uart.Coding{Parity: uart.ParityMark}},
		{uart.CarriesParity, uart.Coding{Parity: uart.ParitySpace}},
		{uart.CarriesParity, uart.Coding{Parity: uart.ParityNone}},
		{uart.CarriesStopBits, uart.Coding{StopBits: uart.Stop2}},
		{uart.CarriesStopBits, uart.Coding{StopBits: uart.Stop1}},
	} {
		err := p.Set(uart.Event{Coding: tt.coding})
		if !b.host.Fidelity().Carries(tt.feature) {
			b.noEvent(p)
			continue
		}
		b.must("change of settings", err)
		e := b.event(uart.KindSettings)
		if got := tt.coding.Over(e.Coding); got != e.Coding {
			b.Errorf("set %v: got %v", tt.coding, e)
		}
	}
	b.noEvent(p)
}

// noEvent checks that Next returns the program's next bytes and no event: what the host cannot carry has caused none.
func (b *bench) noEvent(p Program) {
	b.Helper()
	done := b.write(p, []byte("probe"))
	for _, e := range b.data([]byte("probe")) {
		b.Errorf("next: got %v for what the host does not claim to carry", e)
	}
	b.must("write", <-done)
}

// apart reports whether a flow control differs by direction.
func apart(f uart.Flow) bool { return f.Out != f.In }

// testFlow: the choice of flow control. Hosts that cannot separate the directions are not tested with one direction alone.
func testFlow(b *bench) {
	b.start()
	p := b.openFirst()
	for _, flow := range []uart.Flow{
		{Out: uart.FlowXonXoff, In: uart.FlowXonXoff},
		{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS},
		{Out: uart.FlowXonXoff, In: uart.FlowNone},
		{Out: uart.FlowNone, In: uart.FlowXonXoff},
		{Out: uart.FlowNone, In: uart.FlowNone},
	} {
		if apart(flow) && !b.host.Fidelity().Carries(uart.CarriesFlowApart) {
			continue
		}
		err := p.Set(uart.Event{Flow: flow})
		if !b.host.Fidelity().Carries(uart.CarriesFlow) {
			b.noEvent(p)
			continue
		}
		b.must("change of flow control", err)
		if e := b.event(uart.KindSettings); e.Flow != flow {
			b.Errorf("set flow control %v: got %v", flow, e)
		}
	}
}

// testControl: DTR, RTS and break, one event for each change, in order.
func testControl(b *bench) {
	b.start()
	p := b.openFirst()
	b.lines = true
	for _, tt := range []struct {
		feature uart.Fidelity
		control uart.Control
	}{
		{uart.CarriesDTR, uart.Control{DTR: uart.LevelOff}},
		{uart.CarriesDTR, uart.Control{DTR: uart.LevelOn}},
		{uart.CarriesRTS, uart.Control{RTS: uart.LevelOff}},
		{uart.CarriesRTS, uart.Control{RTS: uart.LevelOn}},
		{uart.CarriesDTR | uart.CarriesRTS, uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff}},
		{uart.CarriesDTR | uart.CarriesRTS, uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn}},
		{uart.CarriesBreak, uart.Control{Break: uart.LevelOn}},
		{uart.CarriesBreak, uart.Control{Break: uart.LevelOff}},
	} {
		err := p.Set(uart.Event{Control: tt.control})
		if !b.host.Fidelity().Carries(tt.feature) {
			b.lines = false
			b.noEvent(p)
			b.lines = true
			continue
		}
		b.must("control of lines", err)
		// The lines that the open has raised may come first.
		for e := b.event(uart.KindSettings); tt.control.Over(e.Control) != e.Control; {
			e = b.event(uart.KindSettings)
		}
	}
}

// testPurge: a purge is announced by Urgent, takes its place in the stream, and names its buffers.
func testPurge(b *bench) {
	b.start()
	p := b.openFirst()
	for i, what := range []uart.Purge{uart.PurgeRx, uart.PurgeTx, uart.PurgeBoth} {
		err := p.Purge(what)
		if !b.host.Fidelity().Carries(uart.CarriesPurge) {
			b.noEvent(p)
			if n := b.announced(uart.KindPurge); n != 0 {
				b.Errorf("announced purges: got %d, but the host does not claim to carry them", n)
			}
			continue
		}
		b.must("purge", err)
		if e := b.event(uart.KindPurge); e.Purge != what {
			b.Errorf("purge %v: got %v", what, e)
		}
		if n := b.announced(uart.KindPurge); n != i+1 {
			b.Errorf("announced purges: got %d, want %d", n, i+1)
		}
	}
}

// testManyPurges: however many purges are queued, Next returns each that was announced, as an event of its own or
// counted in another event's Purges: the bridge drops bytes until Next has returned as many purges as were announced.
func testManyPurges(b *bench) {
	b.start()
	p := b.openFirst()
	const purges = 400 // more than any queue of events holds
	for range purges {
		b.must("purge", p.Purge(uart.PurgeTx))
	}
	for came := 0; came < purges; {
		came += 1 + int(b.event(uart.KindPurge).Purges)
		if came > purges {
			b.Errorf("got %d purges of %d", came, purges)
		}
	}
	if n := b.announced(uart.KindPurge); n != purges {
		b.Errorf("announced purges: got %d, want %d", n, purges)
	}
}

// testModem: the program sees the device's lines.
func testModem(b *bench) {
	b.start()
	p := b.openFirst()
	for _, want := range []uart.ModemState{uart.CTS, uart.CTS | uart.DSR | uart.DCD, uart.RI, 0} {
		err := b.port.SetModem(want)
		if !b.host.Fidelity().Carries(uart.CarriesModem) {
			b.notCarried("set modem", err)
			if got, err := p.Modem(); err == nil && got != 0 {
				b.Errorf("the program sees %v, but the host does not claim to carry modem state", got)
			}
			continue
		}
		if err != nil {
			b.Fatalf("set modem %v: %v", want, err)
		}
		b.modem(p, want)
	}
}

// modem waits until the program sees the modem state.
func (b *bench) modem(p Program, want uart.ModemState) {
	b.Helper()
	b.eventually("the program sees "+want.String(), func() bool {
		got, err := p.Modem()
		return err == nil && got == want
	})
}

// testLineState: the program sees errors and breaks of the far UART.
func testLineState(b *bench) {
	b.start()
	p := b.openFirst()
	for _, tt := range []struct {
		feature uart.Fidelity
		state   uart.LineState
	}{
		{uart.CarriesBreakIn, uart.LineBreak},
		{uart.CarriesLineErrors, uart.LineOverrun},
		{uart.CarriesLineErrors, uart.LineParity},
		{uart.CarriesLineErrors, uart.LineFraming},
	} {
		err := b.port.ReportLine(tt.state)
		if !b.host.Fidelity().Carries(tt.feature) {
			b.notCarried("report "+tt.state.String(), err)
			continue
		}
		if err != nil {
			b.Fatalf("report %v: %v", tt.state, err)
		}
		// The byte that a parity or framing error belongs to. What the program reads for it depends on its termios.
		done := b.write(b.port, []byte("x"))
		reads := make(chan struct{})
		go func() {
			defer close(reads)
			_, _ = io.ReadFull(p, make([]byte, 1))
		}()
		b.must("write", <-done)
		b.eventually("the program sees "+tt.state.String(), func() bool {
			got, err := p.LineErrors()
			return err == nil && got&tt.state != 0
		})
		<-reads
	}
}

// notCarried checks the error of a call that the host cannot carry.
func (b *bench) notCarried(what string, err error) {
	b.Helper()
	if !errors.Is(err, uart.ErrNotCarried) {
		b.Errorf("%s: got %v, want ErrNotCarried", what, err)
	}
}
