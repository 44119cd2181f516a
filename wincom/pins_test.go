package wincom

import (
	"fmt"
	"strings"
	"testing"

	"telnetcpc/bridge/uart"
)

const allLines = uart.CTS | uart.DSR | uart.DCD | uart.RI

// The registry values that setupc writes for its names.
func TestPinNumbers(t *testing.T) {
	for text, number := range map[string]uint32{
		"rrts": 1, "rdtr": 2, "rout1": 4, "rout2": 8, "ropen": 0x80, "lrts": 0x100, "ldtr": 0x200, "lout1": 0x400,
		"lout2": 0x800, "lopen": 0x8000, "on": 0x10000000, "!rout2": 0x80000008, "!on": 0x90000000, "!lopen": 0x80008000,
		"rrts|ropen": 0x81, "!rrts|0x40": 0x80000041, "0x0": 0,
	} {
		if p, err := ParsePin(strings.ToUpper(strings.ReplaceAll(text, "0x", "0X"))); err != nil || p != Pin(number) {
			t.Errorf("parse %q: got %#x, %v, want %#x", text, uint32(p), err, number)
		}
		if got := Pin(number).String(); got != text {
			t.Errorf("%#x: got %q, want %q", number, got, text)
		}
	}
	for _, text := range []string{"", "!", "cts", "rrts|", "0x", "0x80000001", "0x100000000", "12", "!!on", "rrts,ropen"} {
		if p, err := ParsePin(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("parse %q: got %v, %v, want an error that names it", text, p, err)
		}
	}
}

func TestPinsText(t *testing.T) {
	for text, pins := range map[string]Pins{
		"cts=rrts,dsr=rdtr,dcd=rdtr,ri=!on":     DefaultPins(),
		"cts=rrts,dsr=rdtr,dcd=rout1,ri=!rout2": ApplicationPins(),
		"cts=rrts,dsr=rdtr,dcd=ropen,ri=!on":    AgentPins(),
	} {
		if got := pins.String(); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
		if got, err := ParsePins(text); err != nil || got != pins {
			t.Errorf("parse %s: got %v, %v", text, got, err)
		}
	}
	got, err := PinsOf([]string{"EmuBR=yes", "DCD=ropen", "cts=-", "HiddenMode=yes"})
	if err != nil || got != AgentPins() {
		t.Errorf("among other parameters: got %v, %v, want %v", got, err, AgentPins())
	}
	if _, err := PinsOf([]string{"dcd=rxd"}); err == nil || !strings.Contains(err.Error(), "dcd=rxd") {
		t.Errorf("an unknown name: got %v", err)
	}
}

// seen computes, as the driver does, the state that the application sees.
func seen(p Pins, o Output) (m uart.ModemState) {
	driven := map[Pin]bool{
		PinRRTS: o&OutRTS != 0, PinRDTR: o&OutDTR != 0, PinROUT1: o&OutOUT1 != 0, PinROUT2: o&OutOUT2 != 0, PinROPEN: true, PinOn: true,
	}
	for _, in := range p.inputs() {
		on := false
		for bit, is := range driven {
			on = on || is && *in.pin&bit != 0
		}
		if on != (*in.pin&PinNot != 0) {
			m |= in.line
		}
	}
	return m
}

// For every state, the application sees all lines correctly except those that Drive returns as missing.
func TestDrive(t *testing.T) {
	for _, tt := range []struct {
		pins  string
		shown uart.ModemState
	}{
		{"cts=rrts,dsr=rdtr,dcd=rout1,ri=!rout2", allLines},
		{"cts=rout1,dsr=!rrts,dcd=rdtr,ri=rout2", allLines},
		{"cts=rrts,dsr=rdtr,dcd=rdtr,ri=!on", uart.CTS | uart.DSR},
		{"cts=rrts,dsr=rdtr,dcd=!rdtr,ri=!on", uart.CTS | uart.DSR},
		{"cts=on,dsr=ropen,dcd=!on,ri=!on", 0},
		{"cts=0x0,dsr=!0x0,dcd=rout1,ri=!on", uart.DCD},
	} {
		pins, err := ParsePins(tt.pins)
		if err != nil {
			t.Fatal(err)
		}
		if got := pins.shown(); got != tt.shown {
			t.Errorf("%s: shows %v, want %v", tt.pins, got, tt.shown)
		}
		for bits := range 16 {
			m := uart.ModemState(bits << 4)
			drive, missing := pins.Drive(m)
			if got := seen(pins, drive); got^m != missing {
				t.Errorf("%s, %v: drives %#x, the application sees %v, and Drive returns %v as missing", tt.pins, m, drive, got, missing)
			}
			if missing&tt.shown != 0 {
				t.Errorf("%s, %v: %v is missing, but can be shown", tt.pins, m, missing)
			}
		}
	}
	local, err := ParsePins("cts=lrts,dsr=rdtr|rrts,dcd=rout1,ri=!on")
	if err != nil {
		t.Fatal(err)
	}
	if _, missing := local.Drive(0); missing != uart.CTS|uart.DSR {
		t.Errorf("pins that follow the application itself, or two outputs: %v is missing, want CTS and DSR", missing)
	}
}

func TestReadingOf(t *testing.T) {
	pins, err := ParsePins("cts=!rrts,dsr=ropen,dcd=rdtr,ri=!on")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what Pin
		on   uart.ModemState // a status in which it is on
		off  uart.ModemState
	}{
		{PinRRTS, uart.DSR, uart.CTS},
		{PinROPEN, uart.DSR, uart.CTS},
		{PinRDTR, uart.DCD, uart.RI},
	} {
		r := pins.readingOf(tt.what)
		if !r.known() || !r.on(tt.on) || r.on(tt.off) {
			t.Errorf("%v is read as %+v", tt.what, r)
		}
	}
	if r := DefaultPins().readingOf(PinROPEN); r.known() || r.on(allLines) {
		t.Errorf("default pins show an open: %+v", r)
	}
}
