package uart_test

import (
	"math"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
)

var parities = []uart.Parity{uart.ParityNone, uart.ParityOdd, uart.ParityEven, uart.ParityMark, uart.ParitySpace}

// TestCodingRoundTrip: ParseCoding is the inverse of String.
func TestCodingRoundTrip(t *testing.T) {
	for _, baud := range []uint32{0, 1, 300, 9600, 31250, math.MaxUint32} {
		for bits := uint8(5); bits <= 8; bits++ {
			for _, parity := range parities {
				for _, stop := range []uart.StopBits{uart.Stop1, uart.Stop1Half, uart.Stop2} {
					want := uart.Coding{Baud: baud, DataBits: bits, Parity: parity, StopBits: stop}
					if got, err := uart.ParseCoding(want.String()); err != nil || got != want {
						t.Errorf("%q: got %+v, %v; want %+v", want.String(), got, err, want)
					}
				}
			}
		}
	}
	for _, want := range []uart.Coding{{Baud: 19200}, uart.DefaultCoding()} {
		if got, err := uart.ParseCoding(want.String()); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", want.String(), got, err, want)
		}
	}
}

func TestParseCoding(t *testing.T) {
	want := uart.Coding{Baud: 19200, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1}
	for _, s := range []string{"19200 7E1", "  19200   7e1 "} {
		if got, err := uart.ParseCoding(s); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "0", "-1", "4294967296", "9600 9N1", "9600 4N1", "9600 8X1", "9600 8N3", "9600 8N", "8N1 9600", "9600 8N1 x",
		"9600,8N1", "0 8N1", "9600 8?1", "9600 8N1.25", "９６００",
	} {
		if got, err := uart.ParseCoding(s); err == nil {
			t.Errorf("%q: got %+v, want an error", s, got)
		}
	}
}

func TestCodingSaidInPart(t *testing.T) {
	for _, tt := range []struct {
		c    uart.Coding
		want string
	}{
		{uart.Coding{}, ""},
		{uart.Coding{DataBits: 7}, "7??"},
		{uart.Coding{Baud: 300, StopBits: uart.Stop2}, "300 ??2"},
		{uart.Coding{Parity: 9, StopBits: 7}, "???"},
	} {
		if got := tt.c.String(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.c, got, tt.want)
		}
	}
}

// TestCodingOverMinus: c.Minus(base).Over(base) is c.
func TestCodingOverMinus(t *testing.T) {
	base := uart.Coding{Baud: 9600, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}
	for _, c := range []uart.Coding{base, {Baud: 300, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1},
		{Baud: 300, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop2}} {
		if got := c.Minus(base).Over(base); got != c {
			t.Errorf("got %v, want %v", got, c)
		}
	}
	if got := base.Minus(base); got != (uart.Coding{}) {
		t.Errorf("no difference: got %v", got)
	}
}

func TestLineTime(t *testing.T) {
	for _, tt := range []struct {
		coding string
		n      int
		want   time.Duration
	}{
		{"9600 8N1", 960, time.Second},
		{"9600 7E1", 960, time.Second},
		{"9600 8E2", 800, time.Second},
		{"1 5N1.5", 2, 15 * time.Second},
		{"300", 30, time.Second},
		{"1 8N1", math.MaxInt, 1 << 62}, // no overflow
	} {
		c, err := uart.ParseCoding(tt.coding)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LineTime(tt.n); got != tt.want {
			t.Errorf("%d bytes at %s: got %v, want %v", tt.n, tt.coding, got, tt.want)
		}
	}
}

// TestFlowRoundTrip: every pair of methods that is valid for its direction.
func TestFlowRoundTrip(t *testing.T) {
	for out := uart.FlowMethod(0); out <= uart.FlowDSR; out++ {
		for in := uart.FlowMethod(0); in <= uart.FlowDSR; in++ {
			want := uart.Flow{Out: out, In: in}
			impossible := out == uart.FlowDTR || in == uart.FlowDCD || in == uart.FlowDSR || want == (uart.Flow{})
			got, err := uart.ParseFlow(want.String())
			switch {
			case impossible && want != (uart.Flow{}) && err == nil:
				t.Errorf("%q: got %+v, want an error", want.String(), got)
			case !impossible && (err != nil || got != want):
				t.Errorf("%q: got %+v, %v; want %+v", want.String(), got, err, want)
			}
		}
	}
	for _, s := range []string{"/", "hardware", "none/xonxoff/none", "NONE", "dtr", "rtscts/dcd"} {
		if got, err := uart.ParseFlow(s); err == nil {
			t.Errorf("%q: got %+v, want an error", s, got)
		}
	}
}

func TestControlRoundTrip(t *testing.T) {
	for v := range 27 {
		want := uart.Control{DTR: uart.Level(v % 3), RTS: uart.Level(v / 3 % 3), Break: uart.Level(v / 9)}
		if got, err := uart.ParseControl(want.String()); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", want.String(), got, err, want)
		}
		if got := want.Over(uart.Control{}); got != want {
			t.Errorf("over nothing: got %+v, want %+v", got, want)
		}
	}
	for _, s := range []string{"DTR", "DTR up", "CTS on", "DTR on RTS"} {
		if got, err := uart.ParseControl(s); err == nil {
			t.Errorf("%q: got %+v, want an error", s, got)
		}
	}
}

// TestBitsRoundTrip: every value of the bit set types.
func TestBitsRoundTrip(t *testing.T) {
	for v := range 256 {
		if got, err := uart.ParseLineState(uart.LineState(v).String()); err != nil || got != uart.LineState(v) {
			t.Errorf("line state %#x: got %#x, %v", v, uint8(got), err)
		}
		if got, err := uart.ParseModemState(uart.ModemState(v).String()); err != nil || got != uart.ModemState(v) {
			t.Errorf("modem state %#x: got %#x, %v", v, uint8(got), err)
		}
		if got, err := uart.ParsePurge(uart.Purge(v).String()); err != nil || got != uart.Purge(v) {
			t.Errorf("purge %#x: got %#x, %v", v, uint8(got), err)
		}
	}
	for _, s := range []string{"", "CTS|", "CTS,DSR", "0x", "0x1ff", "overrun"} {
		if got, err := uart.ParseModemState(s); err == nil {
			t.Errorf("modem state %q: got %v, want an error", s, got)
		}
	}
}

func TestFidelity(t *testing.T) {
	f := uart.CarriesBaud | uart.CarriesFlow
	if got, want := f.String(), "baud, flow control"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !f.Carries(uart.CarriesBaud) || f.Carries(uart.CarriesBaud|uart.CarriesDTR) {
		t.Error("Carries is not about all of the features")
	}
	if got := f.Missing() | f; got != uart.FullFidelity || f.Missing()&f != 0 {
		t.Errorf("Missing and the set do not add up to the full set: %v", got)
	}
	if got := uart.FullFidelity.Without(uart.CarriesDrain).Missing(); got != uart.CarriesDrain {
		t.Errorf("got %v, want drain", got)
	}
	for _, feature := range uart.FullFidelity.Features() {
		if feature.String() == "" {
			t.Errorf("feature %#x has no name", uint32(feature))
		}
	}
	if got, want := uart.Fidelity(1<<31).String(), "0x80000000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := uart.Fidelity(0).String(), "nothing"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEventString(t *testing.T) {
	for _, tt := range []struct {
		e    uart.Event
		want string
	}{
		{uart.Event{Kind: uart.KindOpened}, "opened"},
		{uart.Event{Kind: uart.KindSettings, Coding: uart.DefaultCoding(), Control: uart.Control{RTS: uart.LevelOff}}, "settings 9600 8N1 RTS off"},
		{uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeBoth}, "purge rx|tx"},
		{uart.Event{Kind: uart.KindModem, Modem: uart.CTS | uart.DCD}, "modem CTS|DCD"},
		{uart.Event{Kind: uart.KindLine, Line: uart.LineBreak}, "line break"},
		{uart.Event{Kind: uart.KindMarked, Bytes: 12}, "marked 12"},
		{uart.Event{Kind: uart.KindRefused, Coding: uart.Coding{Baud: 921600}, Answer: "9600"}, "refused 921600 (answer 9600)"},
		{uart.Event{Kind: uart.KindRefused, Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}, "refused none (no answer)"},
		{uart.Event{Kind: 200}, "0xc8"},
	} {
		if got := tt.e.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// FuzzCodingRoundTrip: what ParseCoding accepts prints as a form that it reads as the same coding.
func FuzzCodingRoundTrip(f *testing.F) {
	for _, s := range []string{"19200 7E1", "300", "8N2", "5O1.5", "9600 8N1 x", "4294967295 8S2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := uart.ParseCoding(s)
		if err != nil {
			return
		}
		if again, err := uart.ParseCoding(c.String()); err != nil || again != c {
			t.Errorf("%q is %+v, which prints as %q, which is %+v, %v", s, c, c, again, err)
		}
	})
}
