package telnet_test

import (
	"bytes"
	"testing"

	"telnetcpc/bridge/telnet"
)

func TestAppendData(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"text", "hello\r\x00", "hello\r\x00"},
		{"255 at both ends", "\xffa\xff", "\xff\xffa\xff\xff"},
		{"a run", "\xff\xff\xff", "\xff\xff\xff\xff\xff\xff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := telnet.AppendData([]byte("before"), []byte(tt.in)); string(got) != "before"+tt.want {
				t.Errorf("got %q, want %q", got, "before"+tt.want)
			}
		})
	}
}

func TestAppendNVT(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"CR LF", "a\r\nb", "a\r\nb"},
		{"CR alone", "a\rb", "a\r\x00b"},
		{"CR at the end", "a\r", "a\r\x00"},
		{"CR CR LF", "\r\r\n", "\r\x00\r\n"},
		{"CR NUL", "\r\x00", "\r\x00\x00"},
		{"CR 255", "\r\xff", "\r\x00\xff\xff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := telnet.AppendNVT(nil, []byte(tt.in)); string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNVTRoundTrip: data of an NVT arrives unchanged, whatever the boundaries of the writes and of the reads.
func TestNVTRoundTrip(t *testing.T) {
	in := []byte("a\r\nb\rc\r\x00\r\r\n\xff\r\xff\n\x00\r")
	for cut := range in {
		wire := telnet.AppendNVT(telnet.AppendNVT(nil, in[:cut]), in[cut:])
		d := telnet.Decoder{NVT: true}
		var got []byte
		for i := range wire {
			data, _, _ := d.Decode([]byte{wire[i]})
			got = append(got, data...)
		}
		if !bytes.Equal(got, in) {
			t.Errorf("cut at %d: got %q, want %q", cut, got, in)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		telnet.WILL.String(): "WILL", telnet.IAC.String(): "IAC", telnet.SE.String(): "SE", telnet.Command(7).String(): "0x07",
		telnet.ComPort.String(): "COM-PORT", telnet.Option(99).String(): "option 99",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
