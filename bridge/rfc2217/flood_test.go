package rfc2217_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/testenv"
)

// flood is a connection to a server that sends the same bytes again and again, faster than we read, and reads everything. It
// measures the heap meanwhile.
type flood struct {
	net.Conn
	first, again []byte
	size         int // of the flood, in bytes
	sent, looked int
	base, most   uint64 // of the heap, in bytes
}

func newFlood(first, again string, size int) *flood {
	f := &flood{size: size, first: []byte(first), again: bytes.Repeat([]byte(again), 1+32000/len(again))}
	f.base = heap()
	return f
}

// heap returns the heap in use, in bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (f *flood) Read(p []byte) (int, error) {
	if f.looked++; f.looked%128 == 1 {
		f.most = max(f.most, heap())
	}
	if len(f.first) > 0 {
		n := copy(p, f.first)
		f.first = f.first[n:]
		return n, nil
	}
	if f.sent < f.size {
		n := copy(p, f.again)
		f.sent += n
		return n, nil
	}
	f.most = max(f.most, heap())
	return 0, io.EOF
}

func (f *flood) Write(p []byte) (int, error)     { return len(p), nil }
func (f *flood) SetDeadline(time.Time) error     { return nil }
func (f *flood) SetReadDeadline(time.Time) error { return nil }

// floods are what a hostile server may send endlessly.
var floods = []struct{ name, again string }{
	{"text", "hello\r\n"},
	{"255 as data", "\xff\xff"},
	{"NOP", "\xff\xf1"},
	{"signatures", "\xff\xfa\x2c\x64hello\xff\xf0"},
	{"a verb that is refused", "\xff\xfb\x63"},
	{"a verb to and fro", "\xff\xfb\x00\xff\xfc\x00"},
	{"marks", "\xff\xfd\x06"},
	{"answers to marks", "\xff\xfc\x06"},
	{"modem states", "\xff\xfa\x2c\x6b\x10\xff\xf0\xff\xfa\x2c\x6b\x20\xff\xf0"},
	{"line states", "\xff\xfa\x2c\x6a\x04\xff\xf0"},
	{"line states, and data between", "\xff\xfa\x2c\x6a\x04\xff\xf0a"},
	{"modem states, and data between", "\xff\xfa\x2c\x6b\x10\xff\xf0a\xff\xfa\x2c\x6b\x20\xff\xf0b"},
	{"pauses", "\xff\xfa\x2c\x6c\xff\xf0\xff\xfa\x2c\x6d\xff\xf0"},
	{"pauses, many in one", "\xff\xfa\x2c" + strings.Repeat("\x6c\x6d", 500) + "\xff\xf0"},
	{"modem states, many in one", "\xff\xfa\x2c" + strings.Repeat("\x6b\x10\x6b\x20", 250) + "\xff\xf0"},
	{"settings that nobody asked for", "\xff\xfa\x2c\x66\x08\xff\xf0\xff\xfa\x2c\x66\x07\xff\xf0"},
	{"other subnegotiations", "\xff\xfa\x18\x01\xff\xf0"},
	{"all of it", "x\xff\xfa\x2c\x6b\x10\xff\xf0\xff\xf1\xff\xfa\x2c\x6a\x04\xff\xf0\xff\xfd\x06y\xff\xfa\x2c\x6b\x20\xff\xf0\xff\xfb\x63"},
}

// slower is by which power of two a flood is smaller under the race detector.
var slower = map[bool]int{true: 3}[testenv.Race]

// floodMost is how much memory a flood may cost, in bytes.
const floodMost = 1 << 20

// TestFlood: a server that floods takes bounded memory, before and after it has agreed, whatever it sends, and whether or not a
// greeting is kept.
func TestFlood(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	for _, f := range floods {
		for _, how := range []struct {
			name, first string
			quirks      rfc2217.Quirks
			plain       bool
			size        int
		}{
			{name: "before it has agreed", first: "\xff\xfb\x03", size: 11 << 20},
			{name: "before it has agreed, kept", first: "\xff\xfb\x03", quirks: rfc2217.KeepGreeting},
			{name: "without a word before"},
			{name: "as soon as it has agreed", first: "\xff\xfb\x03\xff\xfd\x2c"},
			{name: "as soon as it has agreed, kept", first: "\xff\xfb\x03\xff\xfd\x2c", quirks: rfc2217.KeepGreeting},
			{name: "without marks", first: "\xff\xfd\x2c"},
			{name: "telnet", plain: true},
		} {
			t.Run(f.name+"/"+how.name, func(t *testing.T) {
				conn := newFlood(how.first, f.again, max(how.size, 2<<20)>>slower)
				cfg := rfc2217.Config{Quirks: how.quirks, Log: quiet}
				var c *rfc2217.Client
				var err error
				if how.plain {
					c, err = rfc2217.OpenTelnet(t.Context(), conn, cfg)
				} else {
					c, err = rfc2217.Open(t.Context(), conn, cfg)
				}
				opened := err == nil
				for err == nil {
					_, _, err = c.Next()
				}
				runtime.KeepAlive(c)
				if used := int64(conn.most) - int64(conn.base); used > floodMost {
					t.Errorf("%d bytes of %d cost %d KiB, want %d at most (opened: %v, %v)", conn.sent, conn.size, used>>10, floodMost>>10, opened, err)
				}
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("it ended with %v", err)
				}
			})
		}
	}
}

// TestFloodError: a flood that exceeds the bound of the opening is one clear error, the same each time.
func TestFloodError(t *testing.T) {
	for _, tt := range []struct{ name, first, again, want string }{
		{"text", "", "hello\r\n", `not Telnet: "hello\r\nhello\r\nhello\r\nhello\r\nhello\r\nhello\r\nhello\r\nhello\r\nhello\r\nh"`},
		{"text of a Telnet server", "\xff\xfb\x03", "hello\r\n", "it has sent more than 64 KiB or 4096 commands before COM-PORT-OPTION was agreed"},
		{"NOP", "", "\xff\xf1", "it has sent more than 64 KiB or 4096 commands before COM-PORT-OPTION was agreed"},
		{"verbs", "", "\xff\xfb\x63", "it has sent more than 64 KiB or 4096 commands before COM-PORT-OPTION was agreed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := newFlood(tt.first, tt.again, 1<<20)
			_, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{Log: slog.New(slog.DiscardHandler)})
			if text(err) != tt.want || conn.sent > 64<<10+32<<10 {
				t.Errorf("got %q after %d bytes, want %q after 64 KiB", text(err), conn.sent, tt.want)
			}
		})
	}
}
