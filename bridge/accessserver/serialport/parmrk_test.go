package serialport

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// decoded is what p means, decoded in pieces of this size.
func decoded(p []byte, size int, classify func(byte) uart.LineState) (got []string) {
	var m parmrk
	var s ordered.Received
	for piece := range slices.Chunk(p, size) {
		m.decode(&s, piece, classify)
	}
	buf := make([]byte, 1000)
	for !s.Empty() {
		if n, e := s.Stream.Next(buf); n > 0 {
			got = append(got, fmt.Sprintf("%q", buf[:n]))
		} else {
			got = append(got, e.String())
		}
	}
	return got
}

func TestParmrk(t *testing.T) {
	classify := func(b byte) uart.LineState {
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
		{"\xffAB", []string{`"AB"`}}, // a purge took the rest of the sequence
	} {
		for size := 1; size <= len(tt.in); size++ {
			if got := decoded([]byte(tt.in), size, classify); !slices.Equal(got, tt.want) {
				t.Errorf("%q in pieces of %d: got %v, want %v", tt.in, size, got, tt.want)
			}
		}
	}
}

// The counters distinguish the kinds of errors although they run ahead of the data.
func TestLineErrors(t *testing.T) {
	var l lineErrors
	l.seen = counts{brk: 7, frame: 3, parity: -1} // they start anywhere, and wrap
	c := counts{brk: 8, frame: 4, parity: 1}
	var got []uart.LineState
	for _, b := range []byte{0, 'x', 'y', 'z'} {
		got = append(got, l.classify(b, c, true, uart.ParityEven))
	}
	if want := []uart.LineState{uart.LineBreak, uart.LineFraming, uart.LineParity, uart.LineParity}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, tt := range []struct {
		b      byte
		parity uart.Parity
		want   uart.LineState
	}{{0, uart.ParityNone, uart.LineBreak}, {'x', uart.ParityNone, uart.LineFraming}, {'x', uart.ParityOdd, uart.LineParity}} {
		if got := new(lineErrors).classify(tt.b, counts{}, false, tt.parity); got != tt.want {
			t.Errorf("%#x without counters, parity %v: got %v, want %v", tt.b, tt.parity, got, tt.want)
		}
	}
}

// Decoding returns what was sent, wherever it is cut.
func FuzzParmrk(f *testing.F) {
	f.Add([]byte("a\xff\x00b"), 1)
	f.Fuzz(func(t *testing.T, p []byte, size int) {
		sent := bytes.ReplaceAll(p, []byte{0xFF}, []byte{0xFF, 0xFF})
		var m parmrk
		var s ordered.Received
		for piece := range slices.Chunk(sent, max(1, size&0xFF)) {
			m.decode(&s, piece, func(byte) uart.LineState { t.Fatal("an error was decoded, none was sent"); return 0 })
		}
		if !bytes.Equal(s.Bytes(), p) || s.Items() > 0 {
			t.Fatalf("got %q, want %q", s.Bytes(), p)
		}
	})
}
