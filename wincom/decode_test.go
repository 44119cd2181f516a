package wincom_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// unhex parses bytes in hex; blanks and "|" are for the reader.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// golden are streams and states as measured on com0com 3.0, and what they decode to.
var golden = []struct{ name, stream, want string }{
	{"a fresh driver's state", "ff 02 60 | ff 03 00 | ff 10 b0 04 00 00 | ff 11 07 02 00", "line TEMT|THRE; modem none; 1200; 7E1"},
	{"an open", "ff 03 33 ff 03 b8", "modem CTS|DSR; modem CTS|DSR|DCD"},
	{"19200 7E2", "ff 10 00 4b 00 00 ff 11 07 02 02", "19200; 7E2"},
	{"115200 8N1", "ff 10 00 c2 01 00 ff 11 08 00 00", "115200; 8N1"},
	{"5N1.5, 8M1, 6S1, 7O1", "ff 11 05 00 01 ff 11 08 03 00 ff 11 06 04 00 ff 11 07 01 00", "5N1.5; 8M1; 6S1; 7O1"},
	{"lines", "ff 03 92 ff 03 81 ff 03 a2 ff 03 b1", "modem CTS|DCD; modem DCD; modem DSR|DCD; modem CTS|DSR|DCD"},
	{"a break", "ff 01 f9 00 ff 02 60", "error 0 data-ready|break|framing...; line TEMT|THRE"},
	{"a close", "ff 03 0b", "modem none"},
	{"escaped bytes", "01 ff 00 02 ff 00 00", "data 01ff02ff00"},
	{"order", "41 41 ff 10 00 4b 00 00 42 42", "data 4141; 19200; data 4242"},
	{"payloads that look like records", "ff 10 ff ff 00 00 ff 01 04 ff ff 03 ff", "65535; error 255 parity; modem CTS|DSR|DCD|RI"},
	{"a baud rate of 0xffffffff", "ff 10 ff ff ff ff 58", "4294967295; data 58"},
	{"invalid values are unset", "ff 11 09 05 03 ff 11 04 02 00", "; ?E1"},
	{"unknown codes", "41 ff 04 42 ff ff 43 ff 7f ff 00", "data 41; unknown 4; data 42; unknown 255; data 43; unknown 127; data ff"},
}

// decode decodes the pieces of a stream into words; consecutive bytes are one word.
func decode(d *wincom.Decoder, pieces ...[]byte) string {
	var words []string
	var run []byte
	flush := func() {
		if len(run) > 0 {
			words = append(words, "data "+hex.EncodeToString(run))
			run = nil
		}
	}
	for _, p := range pieces {
		p = bytes.Clone(p)
		for len(p) > 0 {
			var data []byte
			var r wincom.Record
			data, r, p = d.Decode(p)
			run = append(run, data...)
			if r.Kind != 0 {
				flush()
				words = append(words, word(r))
			}
		}
	}
	flush()
	return strings.Join(words, "; ")
}

func word(r wincom.Record) string {
	switch r.Kind {
	case wincom.RecordError:
		if r.Line == 0xf9 {
			return fmt.Sprintf("error %d data-ready|break|framing...", r.Char)
		}
		return fmt.Sprintf("error %d %v", r.Char, r.Line)
	case wincom.RecordLine:
		return "line " + r.Line.String()
	case wincom.RecordModem:
		return "modem " + r.Modem.String()
	case wincom.RecordUnknown:
		return fmt.Sprintf("unknown %d", r.Code)
	}
	return r.Coding.String()
}

func TestDecode(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			stream := unhex(t, tt.stream)
			if got := decode(new(wincom.Decoder), stream); got != tt.want {
				t.Fatalf("got %s, want %s", got, tt.want)
			}
			for i := range stream {
				for j := i; j <= len(stream); j++ {
					if got := decode(new(wincom.Decoder), stream[:i], stream[i:j], stream[j:]); got != tt.want {
						t.Fatalf("cut at %d and %d: got %s, want %s", i, j, got, tt.want)
					}
				}
			}
		})
	}
}

// The bits of a break's line status are those of RFC 2217.
func TestBreakStatus(t *testing.T) {
	var d wincom.Decoder
	_, r, _ := d.Decode(unhex(t, "ff 01 f9 00"))
	if r.Line&(uart.LineBreak|uart.LineFraming) != uart.LineBreak|uart.LineFraming || r.Char != 0 {
		t.Errorf("got %+v, want a break", r)
	}
}

// FuzzDecodeCut: a stream that is cut anywhere decodes as a whole one does.
func FuzzDecodeCut(f *testing.F) {
	for _, tt := range golden {
		f.Add(unhex(f, tt.stream), uint8(3), uint8(2))
	}
	f.Fuzz(func(t *testing.T, src []byte, a, b uint8) {
		if len(src) > 4096 {
			return
		}
		i := min(int(a), len(src))
		j := min(i+int(b), len(src))
		want := decode(new(wincom.Decoder), src)
		if got := decode(new(wincom.Decoder), src[:i], src[i:j], src[j:]); got != want {
			t.Errorf("cut at %d and %d: got %q, want %q", i, j, got, want)
		}
	})
}

// FuzzDecodeData: escaped data decodes to the original, without records.
func FuzzDecodeData(f *testing.F) {
	f.Add([]byte{1, 0xff, 2, 0xff, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		stream := bytes.ReplaceAll(p, []byte{wincom.Escape}, []byte{wincom.Escape, 0})
		data, r, rest := new(wincom.Decoder).Decode(stream)
		if !bytes.Equal(data, p) || r.Kind != 0 || len(rest) != 0 {
			t.Errorf("got %x, %+v, rest %x; want %x", data, r, rest, p)
		}
	})
}

func TestDecodeAllocatesNothing(t *testing.T) {
	stream := unhex(t, "41 ff 00 ff 10 00 4b 00 00 42 ff 11 07 02 02 ff 03 33 ff 01 f9 00 ff 02 60 ff 55")
	buf := make([]byte, len(stream))
	var d wincom.Decoder
	n := testing.AllocsPerRun(100, func() {
		copy(buf, stream)
		for p := buf; len(p) > 0; {
			_, _, p = d.Decode(p)
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	noise := bytes.Repeat([]byte("0123456789abcdef\xff\x00"), 256)
	buf := make([]byte, len(noise))
	var d wincom.Decoder
	b.SetBytes(int64(len(noise)))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, noise)
		for p := buf; len(p) > 0; {
			_, _, p = d.Decode(p)
		}
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"caps", wincom.AppendCaps(nil), "ff 63306300 ffffffff"},
		{"start", wincom.AppendInsert(nil, wincom.InsertGet|wincom.InsertClear|wincom.InsertAll), "ff 63306300 03070003"},
		{"get", wincom.AppendInsert(nil, wincom.InsertGet|wincom.InsertAll), "ff 63306300 03070001"},
		{"set lines", wincom.AppendModemControl(nil, wincom.OutDTR|wincom.OutOUT2, 0xF), "09000000 0f000000 63306300"},
	} {
		if want := unhex(t, tt.want); !bytes.Equal(tt.got, want) {
			t.Errorf("%s: got %x, want %x", tt.name, tt.got, want)
		}
	}
	for _, tt := range []struct {
		reply string
		want  uint32
		known bool
	}{
		{"63306300 03070003", 0x03000703, true},
		{"63306300 03030003", 0x03000303, true},
		{"", 0, false},                  // a real serial port
		{"63306300 030700", 0, false},   // cut
		{"63306301 03070003", 0, false}, // another signature
	} {
		got, err := wincom.ParseCaps(unhex(t, tt.reply))
		if got != tt.want || (err == nil) != tt.known {
			t.Errorf("caps %q: got %#x, %v, want %#x", tt.reply, got, err, tt.want)
		}
	}
}

// Function and access as ntddser.h builds them: device type 0x1B, function, METHOD_BUFFERED, FILE_ANY_ACCESS.
func TestIoctlCodes(t *testing.T) {
	for code, function := range map[wincom.Ioctl]uint32{
		wincom.SetBaudRate: 1, wincom.SetQueueSize: 2, wincom.SetLineControl: 3, wincom.SetBreakOn: 4, wincom.SetBreakOff: 5,
		wincom.SetTimeouts: 7, wincom.SetDTR: 9, wincom.ClearDTR: 10, wincom.SetRTS: 12, wincom.ClearRTS: 13, wincom.Purge: 19,
		wincom.SetChars: 23, wincom.SetHandFlow: 25, wincom.GetModemStatus: 26, wincom.GetCommStatus: 27,
		wincom.LsrMstInsert: 31, wincom.SetModemControl: 38,
	} {
		if want := wincom.Ioctl(0x1B<<16 | function<<2); code != want {
			t.Errorf("%v: got %#x, want %#x", code, uint32(code), uint32(want))
		}
		if strings.HasPrefix(code.String(), "0x") {
			t.Errorf("%#x has no name", uint32(code))
		}
	}
	if got := wincom.Ioctl(0x1B0040).String(); got != "0x1b0040" {
		t.Errorf("unknown request: got %q", got)
	}
}
