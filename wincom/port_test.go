package wincom_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
	"telnetcpc/wincom/wincomtest"
)

// The start, byte for byte, in the order that com0com requires.
func TestStart(t *testing.T) {
	b := newBench(t).start()
	want := []string{
		"LSRMST_INSERT ff63306300ffffffff -> 6330630003070003",
		"SET_LINE_CONTROL 000008",
		"SET_CHARS 000000001113",
		"SET_HANDFLOW 00000000000000000000000000000000",
		"SET_QUEUE_SIZE 0000010000100000",
		"SET_TIMEOUTS fffffffffffffffffeffffff0000000000000000",
		"SET_MODEM_CONTROL 000000000f00000063306300",
		"SET_MODEM_CONTROL 080000000f00000063306300",
		"GET_COMMSTATUS -> 0000000000000000000000000000000000000000",
		"LSRMST_INSERT ff6330630003070001 -> ff0260ff0300ff1080250000ff11080000",
	}
	if !slices.Equal(b.requests, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(b.requests, "\n"), strings.Join(want, "\n"))
	}
	if f := b.port.Fidelity(); f != wincom.On(b.pair).Fidelity() {
		t.Errorf("fidelity: got %v, want the host's", f)
	}
	if b.log.String() != "" {
		t.Errorf("the pair has no limits, but the log has: %s", &b.log)
	}
	if b.port.Name() != "COM9" {
		t.Errorf("name: got %s", b.port.Name())
	}
}

// A legacy program, as traced on a real pair: open, SetCommState twice, the same again, each line, a break, close.
func TestLegacyProgram(t *testing.T) {
	b := newBench(t)
	b.pair.SetLeftCoding(uart.Coding{Baud: 1200, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1})
	b.start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on", "settings 1200 7E1")
	b.set(a, "19200 7E2")
	b.wants("settings 19200 7E2")
	b.set(a, "19200 7E2")
	b.set(a, "115200 8N1")
	b.wants("settings 115200 8N1")
	a.Lines(uart.Control{DTR: uart.LevelOff})
	a.Lines(uart.Control{RTS: uart.LevelOff})
	a.Lines(uart.Control{DTR: uart.LevelOn})
	a.Lines(uart.Control{RTS: uart.LevelOn})
	a.Lines(uart.Control{Break: uart.LevelOn})
	a.Lines(uart.Control{Break: uart.LevelOff})
	b.wants("settings DTR off", "settings RTS off", "settings DTR on", "settings RTS on", "settings break on", "settings break off")
	_ = a.Close()
	b.wants("settings DTR off RTS off", "closed")
	if n := b.announcedCloses(); n != 1 {
		t.Errorf("announced closes: got %d, want 1", n)
	}
}

// The requests of one SetCommState become one event, but bytes and lines between them keep their place.
func TestSettingsMerge(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	b.set(a, "300 7E1")
	b.wants("settings 300 7E1")
	// 300 7E1, bytes, 9600 in two steps, a line between the halves of a change, bytes
	b.write(a, "A")
	b.set(a, "9600")
	b.set(a, "8N1")
	b.write(a, "B")
	b.set(a, "1200")
	a.Lines(uart.Control{RTS: uart.LevelOff})
	b.set(a, "7O2")
	b.write(a, "C")
	b.wants(`"A"`, "settings 9600 8N1", `"B"`, "settings 1200 8N1", "settings RTS off", "settings 1200 7O2", `"C"`)
}

// Changes of DTR and RTS are never merged: a bootloader's reset is a sequence of them.
func TestLinesNeverMerge(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	var want []string
	for range 20 {
		a.Lines(uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOn})
		a.Lines(uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOff})
		want = append(want, "settings DTR on RTS off")
		if len(want) > 1 {
			want = append(want[:len(want)-1], "settings DTR off RTS on", "settings DTR on RTS off")
		} else {
			want = []string{"settings DTR off", "settings DTR on RTS off"}
		}
	}
	b.wants(want...)
}

// An agent that starts while a program has the port open gets its settings and the bytes that it has written.
func TestStartAfterProgram(t *testing.T) {
	b := newBench(t)
	a := b.program()
	b.set(a, "2400 7E1")
	a.Lines(uart.Control{RTS: uart.LevelOff})
	b.set(a, "8N1")
	b.set(a, "2400")
	// The agent's end has 7 data bits until the agent sets 8: the eighth bit of earlier bytes is lost.
	b.write(a, "before\x7f\x00")
	b.start()
	b.wants("opened", "settings DTR on RTS off", "settings 2400 8N1", `"before\x7f\x00"`)
	b.write(a, "\xff\x00after")
	b.wants(`"\xff\x00after"`)
	_ = a.Close()
	b.wants("settings DTR off", "closed")
}

// Bytes that were queued before insertion started are not escaped: an Escape among them is data.
func TestStartAfterEscapes(t *testing.T) {
	b := newBench(t)
	first := newBench(t)
	first.pair = b.pair
	first.start() // sets the end to 8 bits
	_ = first.port.Close()
	a := b.program()
	b.write(a, "\xff\xff\x03\xff")
	b.start()
	b.wants("opened", "settings DTR on RTS on", `"\xff\xff\x03\xff"`)
	b.write(a, "\xff")
	b.wants(`"\xff"`)
}

// Bytes of a program that has closed the port before the agent started are dropped, and that is logged.
func TestStartAfterClosedProgram(t *testing.T) {
	b := newBench(t)
	a := b.program()
	b.write(a, "gone")
	_ = a.Close()
	b.start()
	a = b.program()
	b.write(a, "here")
	b.wants("opened", "settings DTR on RTS on", `"here"`)
	if !strings.Contains(b.log.String(), "bytes=4") {
		t.Errorf("the 4 dropped bytes were not logged: %s", &b.log)
	}
}

// The device's lines as the application reads them, with telnetcpc's pins.
func TestModem(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	if m := a.Modem(); m != 0 {
		t.Errorf("before the first state: got %v, want none", m)
	}
	for bits := range 16 {
		m := uart.ModemState(bits << 4)
		if err := b.port.SetModem(m); err != nil {
			t.Errorf("%v: %v", m, err)
		}
		if got := a.Modem(); got != m {
			t.Errorf("got %v, want %v", got, m)
		}
	}
	if err := b.port.Close(); err != nil {
		t.Error(err)
	}
	if m := a.Modem(); m != 0 {
		t.Errorf("without an agent: got %v, want none", m)
	}
	if err := b.port.SetModem(uart.CTS); !errors.Is(err, uart.ErrClosed) {
		t.Errorf("after the close: got %v, want ErrClosed", err)
	}
}

// A pair with default pins: opens are not seen, DCD follows DSR, no RI. All of it is logged, with the way out.
func TestDefaultPins(t *testing.T) {
	b := newBench(t)
	b.pair.Ends.AgentPins, b.pair.Ends.ApplicationPins = wincom.DefaultPins(), wincom.DefaultPins()
	b.start()
	b.wants("opened", "settings DTR off RTS off")
	a := b.program()
	b.wants("settings DTR on RTS on")
	a.Lines(uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff})
	b.wants("settings DTR off RTS off")
	b.write(a, "three wires")
	b.wants(`"three wires"`)
	if f := b.port.Fidelity(); f.Carries(uart.CarriesModem) || !f.Carries(uart.CarriesDTR|uart.CarriesRTS) {
		t.Errorf("fidelity: got %v", f)
	}
	if err := b.port.SetModem(uart.CTS | uart.DSR | uart.DCD); err != nil {
		t.Errorf("a state that can be shown: %v", err)
	}
	err := b.port.SetModem(uart.DSR | uart.RI)
	if !errors.Is(err, uart.ErrNotCarried) || !strings.Contains(err.Error(), "DCD|RI") {
		t.Errorf("a state that cannot be shown: got %v, want ErrNotCarried with DCD and RI", err)
	}
	if m := a.Modem(); m != uart.DSR|uart.DCD {
		t.Errorf("the application sees %v, want DSR and what follows it", m)
	}
	_ = a.Close()
	again := b.program()
	b.wants("settings DTR on RTS on")
	_ = again.Close()
	b.wants("settings DTR off RTS off")
	if n := b.announcedCloses(); n != 0 {
		t.Errorf("announced closes: got %d, want none: no pin shows one", n)
	}
	for _, way := range []string{"setupc change CNCB0 dcd=ropen", "setupc change CNCA0 dcd=rout1,ri=!rout2"} {
		if strings.Count(b.log.String(), way) != 1 {
			t.Errorf("the log does not have %q once: %s", way, &b.log)
		}
	}
}

// Other pins of the agent's end, inverted ones among them.
func TestOtherPins(t *testing.T) {
	b := newBench(t)
	b.pair.Ends.AgentPins = wincom.Pins{CTS: wincom.PinROPEN | wincom.PinNot, DSR: wincom.PinRRTS, DCD: wincom.PinOn, RI: wincom.PinOn}
	b.start()
	a := b.program()
	b.wants("opened", "settings RTS on")
	a.Lines(uart.Control{DTR: uart.LevelOff})
	a.Lines(uart.Control{RTS: uart.LevelOff})
	b.wants("settings RTS off")
	_ = a.Close()
	b.wants("closed")
	if b.port.Fidelity().Carries(uart.CarriesDTR) {
		t.Error("no pin shows DTR, but the port claims to carry it")
	}
}

// A break from the device reaches the application. What the driver has no request for returns ErrNotCarried.
func TestReportLine(t *testing.T) {
	b := newBench(t).start()
	if err := b.port.ReportLine(uart.LineBreak); err != nil {
		t.Errorf("a break while nobody has the port open: %v", err)
	}
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	if _, err := b.port.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if err := b.port.ReportLine(uart.LineBreak | uart.LineFraming | uart.LineTEMT); err != nil {
		t.Errorf("a break: %v", err)
	}
	if _, err := b.port.Write([]byte("y")); err != nil {
		t.Error(err)
	}
	got := make([]byte, 8)
	n, err := a.Read(got)
	if err != nil || string(got[:n]) != "x\x00y" {
		t.Errorf("the application reads %q, %v, want the break's NUL in its place", got[:n], err)
	}
	if e := a.Errors(); e != wincom.ErrorBreak|wincom.ErrorFraming {
		t.Errorf("the application sees errors %#x", e)
	}
	for _, l := range []uart.LineState{uart.LineParity, uart.LineFraming, uart.LineOverrun, uart.LineBreak | uart.LineParity} {
		if err := b.port.ReportLine(l); !errors.Is(err, uart.ErrNotCarried) {
			t.Errorf("%v: got %v, want ErrNotCarried", l, err)
		}
	}
}

// With EmuBR the driver paces our writes by the baud rate of the agent's end, which therefore follows the application's.
func TestEmuBR(t *testing.T) {
	b := newBench(t)
	b.pair.Ends.EmuBR = true
	b.start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	b.set(a, "300")
	b.wants("settings 300 8N1")
	for _, want := range []string{"SET_BAUD_RATE 80250000", "SET_BAUD_RATE 2c010000"} {
		if !slices.Contains(b.requests, want) {
			t.Errorf("the request %s was not made: %q", want, b.requests)
		}
	}
}

// Attaching the agent's end is an error that names the other one.
func TestWrongEnd(t *testing.T) {
	b := newBench(t)
	b.pair.Ends.AgentPins, b.pair.Ends.ApplicationPins = wincom.ApplicationPins(), wincom.AgentPins()
	if _, err := b.open(uart.PortConfig{}); err == nil || !strings.Contains(err.Error(), "attach CNCB0") {
		t.Errorf("got %v, want the name of the other end", err)
	}
}

// Open accepts a Windows device path too, and refuses other paths.
func TestPaths(t *testing.T) {
	for _, path := range []string{"COM9", "com9", `\\.\COM9`, "//./COM9"} {
		b := newBench(t)
		b.startWith(uart.PortConfig{Path: path})
		if got := b.port.Name(); got != "COM9" {
			t.Errorf("%s: got %s", path, got)
		}
	}
	for _, path := range []string{`C:\COM9`, "/dev/ttyV0", `\\.\`, "COM10"} {
		if _, err := newBench(t).open(uart.PortConfig{Path: path}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want an error of one line", path, err)
		}
	}
	if _, err := newBench(t).open(uart.PortConfig{Mode: 0o660}); err == nil || !strings.Contains(err.Error(), "mode") {
		t.Errorf("with a mode: got %v, want an error", err)
	}
}

// An end that another program has open, one that does not exist, and a failing Check.
func TestNoEnd(t *testing.T) {
	b := newBench(t).start()
	_, err := b.open(uart.PortConfig{})
	if !errors.Is(err, wincom.ErrBusy) || !strings.Contains(err.Error(), "port COM9: CNCB0 is held by another program (") {
		t.Errorf("a second agent: got %v, want ErrBusy with the names", err)
	}
	if _, err := wincom.On(noEnd{b.pair}).Open(t.Context(), uart.PortConfig{Path: "COM9"}); !errors.Is(err, wincom.ErrNoDevice) || !strings.Contains(err.Error(), "doctor") {
		t.Errorf("no other end: got %v, want ErrNoDevice and the way out", err)
	}
	b.pair.CheckErr = errors.New("no pair (make one)")
	if err := wincom.On(b.pair).Check(); err == nil || err.Error() != "com0com: no pair (make one)" {
		t.Errorf("check: got %v", err)
	}
}

// noEnd is a system without the other end.
type noEnd struct{ *wincomtest.Pair }

func (noEnd) Open(string) (wincom.Device, error) { return nil, wincom.ErrNoDevice }
