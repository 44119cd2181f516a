package telnet_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"telnetcpc/bridge/telnet"
)

// words decodes the pieces and formats the result as one word an item, adjacent data joined.
func words(d *telnet.Decoder, pieces ...[]byte) []string {
	var out []string
	var data []byte
	flush := func() {
		if len(data) > 0 {
			out = append(out, fmt.Sprintf("data %x", data))
			data = nil
		}
	}
	for _, piece := range pieces {
		src := bytes.Clone(piece) // Decode overwrites it
		for len(src) > 0 {
			p, m, rest := d.Decode(src)
			data = append(data, p...)
			src = rest
			switch {
			case m.Command == 0:
			case m.TooLong:
				flush()
				out = append(out, fmt.Sprintf("SB %v too long: %d", m.Option, m.Length))
			case m.Command == telnet.SB:
				flush()
				out = append(out, fmt.Sprintf("SB %v %x", m.Option, m.Sub))
			case m.Command.Verb():
				flush()
				out = append(out, fmt.Sprintf("%v %v", m.Command, m.Option))
			default:
				flush()
				out = append(out, m.Command.String())
			}
		}
	}
	flush()
	return out
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name    string
		decoder telnet.Decoder
		in      string
		want    []string
	}{
		{name: "data", in: "hello", want: []string{"data 68656c6c6f"}},
		{name: "doubled 255", in: "a\xff\xffb", want: []string{"data 61ff62"}},
		{name: "run of 255", in: "\xff\xff\xff\xff\xff\xffx", want: []string{"data ffffff78"}},
		{name: "verbs between data", in: "a\xff\xfb\x2cb\xff\xfd\x06", want: []string{"data 61", "WILL COM-PORT", "data 62", "DO TIMING-MARK"}},
		{name: "255 as an option", in: "\xff\xfd\xff", want: []string{"DO option 255"}},
		{name: "commands that stand alone", in: "\xff\xf1\xff\xf6x", want: []string{"NOP", "AYT", "data 78"}},
		{name: "subnegotiation", in: "\xff\xfa\x2c\x6b\xbb\xff\xf0z", want: []string{"SB COM-PORT 6bbb", "data 7a"}},
		{name: "255 inside a value", in: "\xff\xfa\x2c\x65\x00\x00\xff\xff\x00\xff\xf0", want: []string{"SB COM-PORT 650000ff00"}},
		{name: "255 inside a value, not doubled", in: "\xff\xfa\x2c\x65\x00\x00\xff\x00\xff\xf0", want: []string{"SB COM-PORT 650000ff00"}},
		{name: "end of a value missing", in: "\xff\xfa\x2c\x65\xff\xfb\x01x", want: []string{"WILL ECHO", "data 78"}},
		{name: "empty subnegotiation", in: "\xff\xfa\x2c\xff\xf0", want: []string{"SB COM-PORT "}},
		{name: "CR NUL stays in transparent data", in: "a\r\x00b", want: []string{"data 610d0062"}},
		{name: "CR NUL of an NVT", decoder: telnet.Decoder{NVT: true}, in: "a\r\x00\r\n\x00\r\r\x00", want: []string{"data 610d0d0a000d0d"}},
		{name: "single 255 before data", decoder: telnet.Decoder{SingleFF: true}, in: "a\xffb\xff\x00\xff\xff\xffc", want: []string{"data 61ff62ff00ffffff63"}},
		{name: "single 255 before a command", decoder: telnet.Decoder{SingleFF: true}, in: "a\xff\xff\xfb\x2c", want: []string{"data 61ff", "WILL COM-PORT"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.decoder
			if got := words(&d, []byte(tt.in)); !equal(got, tt.want) {
				t.Errorf("whole: got %q, want %q", got, tt.want)
			}
			d = tt.decoder
			var single [][]byte
			for i := range tt.in {
				single = append(single, []byte(tt.in[i:i+1]))
			}
			if got := words(&d, single...); !equal(got, tt.want) {
				t.Errorf("byte by byte: got %q, want %q", got, tt.want)
			}
		})
	}
}

func equal(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }

// TestSubLimit: a subnegotiation that is too long is returned as such at its end or, if another command shows that it has none,
// before that command. It takes bounded memory, and what follows is decoded.
func TestSubLimit(t *testing.T) {
	long := "\xff\xfa\x2c" + strings.Repeat("x", 4000)
	escapes := "\xff\xfa\x2c" + strings.Repeat("\xff\xff", telnet.SubLimit+1)
	for _, tt := range []struct{ name, in, want string }{
		{"ends", long + "\xff\xf0data", "SB COM-PORT too long: 4000|data 64617461"},
		{"one byte too long", escapes + "\xff\xf0data", "SB COM-PORT too long: 1025|data 64617461"},
		{"a doubled 255 in it", long + "\xff\xffy\xff\xf0data", "SB COM-PORT too long: 4002|data 64617461"},
		{"a single 255 in it", long + "\xff\x00y\xff\xf0data", "SB COM-PORT too long: 4003|data 64617461"},
		{"a single 255 as the byte too much", escapes[:len(escapes)-2] + "\xff\x00\xff\xf0data", "SB COM-PORT too long: 1026|data 64617461"},
		{"a verb instead of its end", long + "\xff\xfb\x01data", "SB COM-PORT too long: 4000|WILL ECHO|data 64617461"},
		{"another one instead of its end", long + "\xff\xfa\x2c\x6b\xbb\xff\xf0data", "SB COM-PORT too long: 4000|SB COM-PORT 6bbb|data 64617461"},
		{"a command instead of its end", long + "\xff\xf1data", "SB COM-PORT too long: 4000|NOP|data 64617461"},
		{"two of them", long + "\xff\xf0" + long + "\xff\xf0data", "SB COM-PORT too long: 4000|SB COM-PORT too long: 4000|data 64617461"},
	} {
		for _, single := range []bool{false, true} {
			d := telnet.Decoder{SingleFF: single}
			if got := strings.Join(words(&d, []byte(tt.in)), "|"); got != tt.want {
				t.Errorf("%s, single %v: got %q, want %q", tt.name, single, got, tt.want)
			}
			d = telnet.Decoder{SingleFF: single}
			var pieces [][]byte
			for i := range tt.in {
				pieces = append(pieces, []byte(tt.in[i:i+1]))
			}
			if got := strings.Join(words(&d, pieces...), "|"); got != tt.want {
				t.Errorf("%s, single %v, byte by byte: got %q, want %q", tt.name, single, got, tt.want)
			}
		}
	}
}

// TestSubEndless: a subnegotiation without an end is returned as too long once, and takes no memory.
func TestSubEndless(t *testing.T) {
	var d telnet.Decoder
	words(&d, []byte("\xff\xfa\x2c"+strings.Repeat("x", telnet.SubLimit+1)))
	returned := 0
	piece := bytes.Repeat([]byte("xxxx"), 1<<12)
	n := testing.AllocsPerRun(3*telnet.SkipLimit/len(piece), func() {
		if _, m, _ := d.Decode(piece); m.TooLong {
			if returned++; m.Length != telnet.SkipLimit+1 {
				t.Errorf("returned at %d bytes, want one more than %d", m.Length, telnet.SkipLimit)
			}
		}
	})
	if returned != 1 || n != 0 {
		t.Errorf("returned %d times, with %v allocations; want once, with none", returned, n)
	}
	if got, want := words(&d, []byte("\xff\xf0data")), []string{"data 64617461"}; !equal(got, want) {
		t.Errorf("after it: got %q, want %q", got, want)
	}
}

func TestSubOfTheLimit(t *testing.T) {
	var d telnet.Decoder
	value := bytes.Repeat([]byte{0xff}, telnet.SubLimit)
	got := words(&d, telnet.AppendSub(nil, telnet.ComPort, value))
	if want := []string{fmt.Sprintf("SB COM-PORT %x", value)}; !equal(got, want) {
		t.Errorf("got %d words, want the value whole", len(got))
	}
}

// TestDecodeAllocates: decoding data allocates nothing.
func TestDecodeAllocates(t *testing.T) {
	src := bytes.Repeat([]byte("some data \xff\xff and more"), 100)
	buf, out := make([]byte, len(src)), make([]byte, 0, 2*len(src))
	var d telnet.Decoder
	n := testing.AllocsPerRun(100, func() {
		copy(buf, src)
		data, _, _ := d.Decode(buf)
		out = telnet.AppendData(out[:0], data)
	})
	if n != 0 {
		t.Errorf("%v allocations a run, want none", n)
	}
	if !bytes.Equal(out, src) {
		t.Error("encoding what was decoded gives something else")
	}
}

// samples are the data of the benchmarks. A 255 in every 257th byte is about what random data has.
func samples() map[string][]byte {
	return map[string][]byte{
		"text":  bytes.Repeat([]byte("0123456789abcdef"), 256),
		"mixed": bytes.Repeat(append(bytes.Repeat([]byte{'x'}, 255), 0xff, 0xff), 16),
		"0xFF":  bytes.Repeat([]byte{0xff}, 4096),
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, src := range samples() {
		b.Run(name, func(b *testing.B) {
			var d telnet.Decoder
			buf := make([]byte, len(src))
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, src)
				d.Decode(buf)
			}
		})
	}
}

func BenchmarkAppendData(b *testing.B) {
	for name, src := range samples() {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 2*len(src))
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				telnet.AppendData(dst, src)
			}
		})
	}
}

// TestFlush: a 255 that nothing has followed can be taken as data, and nothing else can.
func TestFlush(t *testing.T) {
	for in, want := range map[string]string{"a\xff": "\xff", "a": "", "\xff\xff": "", "\xff\xfa\x2c\x00\xff": "", "\xff\xfd": "", "\xff\xfa\x2c\x00\xff\xf0\xff": "\xff"} {
		var d telnet.Decoder
		words(&d, []byte(in))
		if got := d.Pending(); got != (want != "") {
			t.Errorf("%q: pending %v", in, got)
		}
		if got := string(d.Flush()); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if want == "" {
			continue
		}
		if got, want := words(&d, []byte("b\xff\xf1")), []string{"data 62", "NOP"}; !equal(got, want) {
			t.Errorf("%q: after it %q, want %q", in, got, want)
		}
	}
}
