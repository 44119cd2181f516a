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

// The start, byte for byte, in the order in which com0com wants it.
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
	if !slices.Equal(b.asked, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(b.asked, "\n"), strings.Join(want, "\n"))
	}
	if f := b.port.Fidelity(); f != wincom.On(b.pair).Fidelity() {
		t.Errorf("fidelity: got %v, want the host's", f)
	}
	if b.log.String() != "" {
		t.Errorf("a pair as it should be, and the log says: %s", &b.log)
	}
	if b.port.Name() != "COM9" {
		t.Errorf("name: got %s", b.port.Name())
	}
}

// What the pair did while a legacy program used it, as it was traced: an open, SetCommState twice, the same again, each
// line, a break, the close.
func TestLegacyProgram(t *testing.T) {
	b := newBench(t)
	b.pair.Leave(uart.Coding{Baud: 1200, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1})
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
	if n := b.calledOut(); n != 1 {
		t.Errorf("closes called out: got %d, want 1", n)
	}
}

// The requests of one SetCommState are one event; bytes and lines between them are not passed by.
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

// DTR and RTS are never merged, whatever they were: a bootloader's reset is nothing but their order.
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

// An agent that comes while a program has the port open finds out what is so, and gets what it has written, as it wrote it.
func TestStartBehindProgram(t *testing.T) {
	b := newBench(t)
	a := b.program()
	b.set(a, "2400 7E1")
	a.Lines(uart.Control{RTS: uart.LevelOff})
	b.set(a, "8N1")
	b.set(a, "2400")
	// The driver's end has 7 bits until the agent says 8: that much of a byte is lost before it comes.
	b.write(a, "before\x7f\x00")
	b.start()
	b.wants("opened", "settings DTR on RTS off", "settings 2400 8N1", `"before\x7f\x00"`)
	b.write(a, "\xff\x00after")
	b.wants(`"\xff\x00after"`)
	_ = a.Close()
	b.wants("settings DTR off", "closed")
}

// The bytes that were in the queue before records were inserted are not escaped: an Escape among them is one.
func TestStartBehindEscapes(t *testing.T) {
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

// What a program wrote that is gone again belongs to nobody; it is said.
func TestStartBehindGoneProgram(t *testing.T) {
	b := newBench(t)
	a := b.program()
	b.write(a, "gone")
	_ = a.Close()
	b.start()
	a = b.program()
	b.write(a, "here")
	b.wants("opened", "settings DTR on RTS on", `"here"`)
	if !strings.Contains(b.log.String(), "bytes=4") {
		t.Errorf("nothing was said of the 4 bytes: %s", &b.log)
	}
}

// The device's lines, as the application reads them: with pins of ours, and with com0com's default ones.
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

// A pair with default pins: no open to be seen, DCD with DSR, no RI; all of it is said, with the way out.
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
		t.Errorf("what can be shown: %v", err)
	}
	err := b.port.SetModem(uart.DSR | uart.RI)
	if !errors.Is(err, uart.ErrNotCarried) || !strings.Contains(err.Error(), "DCD|RI") {
		t.Errorf("what cannot be shown: got %v, want ErrNotCarried with DCD and RI", err)
	}
	if m := a.Modem(); m != uart.DSR|uart.DCD {
		t.Errorf("the application sees %v, want DSR and what follows it", m)
	}
	_ = a.Close()
	again := b.program()
	b.wants("settings DTR on RTS on")
	_ = again.Close()
	b.wants("settings DTR off RTS off")
	if n := b.calledOut(); n != 0 {
		t.Errorf("closes called out: got %d, but none can be known", n)
	}
	for _, way := range []string{"setupc change CNCB0 dcd=ropen", "setupc change CNCA0 dcd=rout1,ri=!rout2"} {
		if strings.Count(b.log.String(), way) != 1 {
			t.Errorf("the log does not say once %q: %s", way, &b.log)
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
		t.Error("no pin tells DTR, but the port claims it")
	}
}

// A break from the device is one for the application; what the driver has no way to give is answered.
func TestReportLine(t *testing.T) {
	b := newBench(t).start()
	if err := b.port.ReportLine(uart.LineBreak); err != nil {
		t.Errorf("a break for nobody: %v", err)
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

// The driver paces what we write by the agent's end's own rate where EmuBR is on: it gets the application's.
func TestEmuBR(t *testing.T) {
	b := newBench(t)
	b.pair.Ends.EmuBR = true
	b.start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	b.set(a, "300")
	b.wants("settings 300 8N1")
	for _, want := range []string{"SET_BAUD_RATE 80250000", "SET_BAUD_RATE 2c010000"} {
		if !slices.Contains(b.asked, want) {
			t.Errorf("the driver was not asked %s: %q", want, b.asked)
		}
	}
}

// Who takes the ends the wrong way round is told.
func TestWrongEnd(t *testing.T) {
	b := newBench(t)
	b.pair.Ends.AgentPins, b.pair.Ends.ApplicationPins = wincom.ApplicationPins(), wincom.AgentPins()
	if _, err := b.open(uart.PortConfig{}); err == nil || !strings.Contains(err.Error(), "attach CNCB0") {
		t.Errorf("got %v, want the name of the other end", err)
	}
}

// A path of Windows names the port too; what is none is refused.
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
		t.Errorf("with a mode: got %v, want a refusal", err)
	}
}

// An end that is held, one that is not there, and a machine without pairs.
func TestNoEnd(t *testing.T) {
	b := newBench(t).start()
	_, err := b.open(uart.PortConfig{})
	if !errors.Is(err, wincom.ErrBusy) || !strings.Contains(err.Error(), "port COM9: CNCB0 is held by another program (") {
		t.Errorf("a second agent: got %v, want ErrBusy with the names", err)
	}
	if _, err := wincom.On(noEnd{b.pair}).Open(t.Context(), uart.PortConfig{Path: "COM9"}); !errors.Is(err, wincom.ErrNoDevice) || !strings.Contains(err.Error(), "doctor") {
		t.Errorf("no other end: got %v, want ErrNoDevice and the way out", err)
	}
	b.pair.Broken = errors.New("no pair (make one)")
	if err := wincom.On(b.pair).Check(); err == nil || err.Error() != "com0com: no pair (make one)" {
		t.Errorf("check: got %v", err)
	}
}

// noEnd is a system where the other end cannot be opened.
type noEnd struct{ *wincomtest.Pair }

func (noEnd) Open(string) (wincom.Device, error) { return nil, wincom.ErrNoDevice }
