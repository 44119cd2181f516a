package rfc2217_test

import (
	"bytes"
	"fmt"
	"testing"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// sub returns the value of the one subnegotiation in p.
func sub(t testing.TB, p []byte) []byte {
	t.Helper()
	var d telnet.Decoder
	data, m, rest := d.Decode(p)
	if len(data) != 0 || m.Command != telnet.SB || m.Option != telnet.ComPort || len(rest) != 0 {
		t.Fatalf("%x is not one COM-PORT-OPTION subnegotiation", p)
	}
	return m.Sub
}

// TestCommandRoundTrip: every command of both sides, with every value, is parsed as it was written.
func TestCommandRoundTrip(t *testing.T) {
	var all []rfc2217.Command
	for _, from := range []rfc2217.Code{0, rfc2217.FromServer} {
		for _, baud := range []uint32{0, 1, 300, 9600, 65280, 255, 0xFFFFFFFF, 0x00FF00FF} {
			all = append(all, rfc2217.Command{Code: rfc2217.SetBaudRate + from, Baud: baud})
		}
		for _, code := range []rfc2217.Code{rfc2217.SetDataSize, rfc2217.SetParity, rfc2217.SetStopSize, rfc2217.SetControl,
			rfc2217.NotifyLineState, rfc2217.NotifyModemState, rfc2217.SetLineMask, rfc2217.SetModemMask, rfc2217.PurgeData} {
			for v := range 256 {
				all = append(all, rfc2217.Command{Code: code + from, Value: byte(v)})
			}
		}
		all = append(all, rfc2217.Command{Code: rfc2217.FlowSuspend + from}, rfc2217.Command{Code: rfc2217.FlowResume + from},
			rfc2217.Command{Code: rfc2217.Signature + from}, rfc2217.Command{Code: rfc2217.Signature + from, Text: []byte("a\xffb")})
	}
	for _, c := range all {
		got, rest, err := rfc2217.ParseCommand(sub(t, rfc2217.AppendCommand(nil, c)))
		if err != nil || len(rest) != 0 || got.Code != c.Code || got.Baud != c.Baud || got.Value != c.Value || !bytes.Equal(got.Text, c.Text) {
			t.Errorf("%v: got %+v, rest %x, error %v; want %+v", c.Code, got, rest, err, c)
		}
	}
}

func TestParseCommand(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
		short    bool
	}{
		{name: "baud of four bytes", in: "65 00002580", want: []string{"SET-BAUDRATE 9600 0"}},
		{name: "baud of eight bytes: sredird on 64 bits", in: "65 00002580 00000000", want: []string{"SET-BAUDRATE 9600 0"}},
		{name: "baud of two bytes", in: "65 2580", short: true},
		{name: "several in one: Lantronix", in: "6c 6b 00", want: []string{"FLOWCONTROL-SUSPEND 0 0", "NOTIFY-MODEMSTATE 0 0"}},
		{name: "three settings in one", in: "66 08 67 01 68 01", want: []string{"SET-DATASIZE 0 8", "SET-PARITY 0 1", "SET-STOPSIZE 0 1"}},
		{name: "a value that is missing", in: "66", short: true},
		{name: "a private code takes all", in: "97 01 02", want: []string{"0x97 0 0"}},
		{name: "nothing", in: "", short: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			var err error
			for rest := unhex(t, tt.in); len(rest) > 0 || len(got) == 0; {
				var c rfc2217.Command
				if c, rest, err = rfc2217.ParseCommand(rest); err != nil {
					break
				}
				got = append(got, fmt.Sprintf("%v %d %d", c.Code, c.Baud, c.Value))
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || (err != nil) != tt.short {
				t.Errorf("got %q, error %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestAppendSettings: one event is one segment, in the order that every server handles.
func TestAppendSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    uart.Event
		want string
	}{
		{"nothing", uart.Event{}, ""},
		{"line coding", uart.Event{Coding: uart.Coding{Baud: 19200, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop2}},
			"SB 0100004b00, SB 0303, SB 0207, SB 0402"},
		{"one field", uart.Event{Coding: uart.Coding{Baud: 65280}}, "SB 010000ff00"},
		{"flow control of both ways", uart.Event{Flow: uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}}, "SB 0503"},
		{"no flow control", uart.Event{Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}, "SB 0501"},
		{"XON/XOFF outbound", uart.Event{Flow: uart.Flow{Out: uart.FlowXonXoff, In: uart.FlowNone}}, "SB 0502, SB 050e"},
		{"XON/XOFF inbound", uart.Event{Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowXonXoff}}, "SB 0501, SB 050f"},
		{"DCD and DTR", uart.Event{Flow: uart.Flow{Out: uart.FlowDCD, In: uart.FlowDTR}}, "SB 0511, SB 0512"},
		{"DTR and RTS by one call", uart.Event{Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOn}}, "SB 0509, SB 050b"},
		{"break", uart.Event{Control: uart.Control{Break: uart.LevelOn}}, "SB 0505"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := verbs(rfc2217.AppendSettings(nil, tt.e)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCodeNames(t *testing.T) {
	for got, want := range map[string]string{
		rfc2217.SetBaudRate.String(): "SET-BAUDRATE", (rfc2217.PurgeData + rfc2217.FromServer).String(): "PURGE-DATA",
		rfc2217.Code(0x33).String(): "0x33", rfc2217.Code(0xF0).String(): "0xf0",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzCommandRoundTrip: a parsed subnegotiation, written and parsed again, is the same.
func FuzzCommandRoundTrip(f *testing.F) {
	for _, s := range []string{"6500002580", "6500002580000000000", "6c6b00", "6501", "00", "64414243", "97010203", "05ff"} {
		f.Add([]byte(s))
	}
	for _, tr := range traces(f) {
		for _, p := range tr.subs {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		c, rest, err := rfc2217.ParseCommand(p)
		if err != nil || len(p) > telnet.SubLimit {
			return
		}
		if len(rest) >= len(p) {
			t.Fatal("parsing takes nothing")
		}
		again, _, err := rfc2217.ParseCommand(sub(t, rfc2217.AppendCommand(nil, c)))
		if err != nil || again.Code != c.Code || again.Baud != c.Baud || again.Value != c.Value || !bytes.Equal(again.Text, c.Text) {
			t.Errorf("got %+v, error %v; want %+v", again, err, c)
		}
	})
}
