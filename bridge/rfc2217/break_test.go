package rfc2217_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// TestOneBreak: the NUL of a break, directly after its notice, is removed; everything else is data.
func TestOneBreak(t *testing.T) {
	const (
		notice = "fffa2c6a10fff0"
		ours   = "fffa2c64" + "74656c6e6574637063" + "fff0"
		others = "fffa2c64" + "736572326e6574" + "fff0"
		modem  = "fffa2c6b30fff0"
	)
	for _, tt := range []struct {
		name   string
		mask   uart.LineState
		pieces []string      // what the server sends, hex
		pause  time.Duration // between them
		want   []string
	}{
		{"in one segment", uart.LineErrors, []string{notice + "00"}, 0, []string{"line break"}},
		{"and data after it", uart.LineErrors, []string{"61" + notice + "0062"}, 0, []string{"data a", "line break", "data b"}},
		{"torn in two", uart.LineErrors, []string{notice, "00"}, 40 * time.Millisecond, []string{"line break"}},
		{"torn anywhere", uart.LineErrors, []string{notice[:6], notice[6:], "0062"}, 40 * time.Millisecond, []string{"line break", "data b"}},
		{"one NUL and no more", uart.LineErrors, []string{notice + "000062"}, 0, []string{"line break", "data \x00b"}},
		{"twice", uart.LineErrors, []string{notice + "00" + notice + "00"}, 0, []string{"line break", "line break"}},
		{"break and framing in one", uart.LineErrors, []string{"fffa2c6a18fff0" + "00"}, 0, []string{"line break|framing"}},
		{"a NUL that comes later", uart.LineErrors, []string{notice, "00"}, 51 * time.Millisecond, []string{"line break", "data \x00"}},
		{"another byte", uart.LineErrors, []string{notice + "6200"}, 0, []string{"line break", "data b\x00"}},
		{"another byte, then a NUL", uart.LineErrors, []string{notice + "62", "00"}, time.Millisecond, []string{"line break", "data b", "data \x00"}},
		{"a command between", uart.LineErrors, []string{notice + modem + "00"}, 0, []string{"line break", "modem CTS|DSR", "data \x00"}},
		{"a command between, in one subnegotiation", uart.LineErrors, []string{"fffa2c6a106b30fff0" + "00"}, 0,
			[]string{"line break", "modem CTS|DSR", "data \x00"}},
		{"another notice", uart.LineErrors, []string{"fffa2c6a04fff0" + "00"}, 0, []string{"line parity", "data \x00"}},
		{"nobody has asked for notices", 0, []string{notice + "00"}, 0, []string{"line break", "data \x00"}},
		{"asked for others", uart.LineParity, []string{notice + "00"}, 0, []string{"line break", "data \x00"}},
		{"our own server sends none", uart.LineErrors, []string{ours + notice + "00"}, 0, []string{"line break", "data \x00"}},
		{"a server that says another name", uart.LineErrors, []string{others + notice + "00"}, 0, []string{"line break"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := session(t, rfc2217.Config{LineMask: tt.mask}, do44)
				words := make(chan []string)
				go func() { words <- untilTheEnd(t, c) }()
				for _, p := range tt.pieces {
					far.send(t, p)
					time.Sleep(tt.pause)
					synctest.Wait()
				}
				_ = c.Close()
				if got := <-words; !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestOneBreakByteByByte: however a stream is cut, the NUL of a break is removed, and no other.
func TestOneBreakByteByByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{LineMask: uart.LineErrors}, do44)
		far.out.mu.Lock()
		far.out.cuts = slices.Repeat([]int{1}, 100)
		far.out.mu.Unlock()
		far.send(t, "6100fffa2c6a10fff0000062")
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		got := strings.ReplaceAll(strings.Join(untilTheEnd(t, c), ""), "data ", "")
		if want := "a\x00line break\x00b"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
