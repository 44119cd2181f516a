package serialport

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// decoded is what data with marks says, cut into pieces of this size.
func decoded(p []byte, size int, what func(byte) uart.LineState) (said []string) {
	var m marks
	var s ordered.Received
	for piece := range slices.Chunk(p, size) {
		m.decode(&s, piece, what)
	}
	buf := make([]byte, 1000)
	for !s.Empty() {
		if n, e := s.Stream.Next(buf); n > 0 {
			said = append(said, fmt.Sprintf("%q", buf[:n]))
		} else {
			said = append(said, e.String())
		}
	}
	return said
}

func TestMarks(t *testing.T) {
	what := func(b byte) uart.LineState {
		if b == 0 {
			return uart.LineBreak
		}
		return uart.LineParity
	}
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"plain\x00", []string{`"plain\x00"`}},
		{"\xff\xff", []string{`"\xff"`}},
		{"a\xff\xff\xff\xffb", []string{`"a\xff\xffb"`}},
		{"a\xff\x00\x41b", []string{`"a"`, "line parity", `"Ab"`}},
		{"\xff\x00\x00x", []string{"line break", `"\x00x"`}},
		{"\xff\x00\xff\xff\xff", []string{"line parity", `"\xff\xff"`}}, // the bad byte is 0xFF and is not doubled
		{"\xff\x00\x00\xff\x00\x00", []string{"line break", `"\x00"`, "line break", `"\x00"`}},
		{"\xffAB", []string{`"AB"`}}, // a purge took the other half
	} {
		for size := 1; size <= len(tt.in); size++ {
			if got := decoded([]byte(tt.in), size, what); !slices.Equal(got, tt.want) {
				t.Errorf("%q in pieces of %d: got %v, want %v", tt.in, size, got, tt.want)
			}
		}
	}
}

// The counters tell the errors apart, in the order in which they were counted, and run ahead of the data.
func TestLineErrors(t *testing.T) {
	var l lineErrors
	l.seen = counts{brk: 7, frame: 3, parity: -1} // they never begin at 0, and they wrap
	c := counts{brk: 8, frame: 4, parity: 1}
	var got []uart.LineState
	for _, b := range []byte{0, 'x', 'y', 'z'} {
		got = append(got, l.what(b, c, true, uart.ParityEven))
	}
	if want := []uart.LineState{uart.LineBreak, uart.LineFraming, uart.LineParity, uart.LineParity}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, tt := range []struct {
		b      byte
		parity uart.Parity
		want   uart.LineState
	}{{0, uart.ParityNone, uart.LineBreak}, {'x', uart.ParityNone, uart.LineFraming}, {'x', uart.ParityOdd, uart.LineParity}} {
		if got := new(lineErrors).what(tt.b, counts{}, false, tt.parity); got != tt.want {
			t.Errorf("%#x without counters, parity %v: got %v, want %v", tt.b, tt.parity, got, tt.want)
		}
	}
}

// Whatever is sent comes out, wherever it is cut.
func FuzzMarks(f *testing.F) {
	f.Add([]byte("a\xff\x00b"), 1)
	f.Fuzz(func(t *testing.T, p []byte, size int) {
		sent := bytes.ReplaceAll(p, []byte{0xFF}, []byte{0xFF, 0xFF})
		var m marks
		var s ordered.Received
		for piece := range slices.Chunk(sent, max(1, size&0xFF)) {
			m.decode(&s, piece, func(byte) uart.LineState { t.Fatal("an error where none is"); return 0 })
		}
		got, items := make([]byte, s.Len()), s.Items()
		if items == 0 && len(got) > 0 {
			s.Next(got)
		}
		if !bytes.Equal(got, p) || items > 0 {
			t.Fatalf("got %q, want %q", got, p)
		}
	})
}
