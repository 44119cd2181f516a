package accessserver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// TestBreakNUL: only the NUL of a break itself is left out of what follows a break, for the owner and for a watcher.
func TestBreakNUL(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		purge        time.Duration // 0: none
		want         []string
	}{
		{"alone", "at 10s break\nat 11s data \"x\"", 0, []string{"line break", "x"}},
		{"and data that is NUL", "at 10s break\nat 10s data \"\\x00x\"", 0, []string{"line break", "\x00x"}},
		{"two breaks", "at 10s break\nat 10s break\nat 11s data \"x\"", 0, []string{"line break", "line break", "x"}},
		{"a purge before", "at 10s break\nat 11s data \"x\"", 5 * time.Second, []string{"line break", "x"}},
		{"a purge between", "at 10s break\nat 15s data \"\\x00x\"", 12 * time.Second, []string{"line break", "\x00x"}},
		{"another error of a NUL", "at 10s parity-error 0\nat 11s data \"x\"", 0, []string{"line parity", "\x00x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script, err := simulate.ParseInject("test", strings.NewReader(tt.script))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				l := newMemory()
				f := &far{t: t, dial: l.dial}
				device := &simulate.Loopback{Inject: script}
				f.startWith(l, accessserver.Config{Open: device.Open, Watchers: 1})
				asks := rfc2217.Config{LineMask: uart.LineErrors}
				owner := f.connect(asks)
				owner.set(uart.Event{Coding: uart.DefaultCoding()})
				synctest.Wait()
				watcher := f.connect(asks)
				watcher.set(uart.Event{Coding: uart.DefaultCoding()})
				if tt.purge > 0 {
					time.Sleep(tt.purge)
					if err := owner.Apply(uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeRx}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				want := append([]string{"modem none"}, tt.want...)
				devicetest.Expect(t, "the owner", owner.seen(), want)
				devicetest.Expect(t, "the watcher", watcher.seen(), want)
			})
		})
	}
}

// TestBreakPurged: a receive purge drops a break together with its NUL, or neither of them, so that no other byte is taken for the
// NUL.
func TestBreakPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &simulate.Loopback{Inject: []simulate.Injection{
			{At: time.Second, Event: uart.Event{Kind: uart.KindLine, Line: uart.LineBreak}, Data: []byte{0}},
			{At: time.Second, Data: []byte{0, 'x'}},
		}}
		d, err := device.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		time.Sleep(2 * time.Second)
		if p, e, err := d.Next(); err != nil || e.Line != uart.LineBreak || string(p) != "\x00" {
			t.Errorf("got %q, %v, %v, want the break with its NUL", p, e, err)
		}
		if err := d.Purge(uart.PurgeRx); err != nil {
			t.Fatal(err)
		}
		_ = d.Close()
		if p, e, err := d.Next(); !errors.Is(err, uart.ErrClosed) {
			t.Errorf("after the purge: %q, %v, %v", p, e, err)
		}
	})
}

// within returns everything that a caller receives within the time, as words.
func (c *caller) within(d time.Duration) (words []string) {
	for until := time.Now().Add(d); ; {
		data, m, err := c.nextUntil(until)
		switch {
		case err != nil:
			return words
		case len(data) > 0:
			words = append(words, string(data))
		case m.Command == telnet.SB:
			words = append(words, rfc2217.Code(m.Sub[0]).String()+" "+uart.ModemState(m.Sub[1]&0xF0).String())
		}
	}
}

// TestLinesWhilePaused: while a client suspends the data, even forever, the modem lines are reported all the same, and each change
// once; to the owner and to a watcher.
func TestLinesWhilePaused(t *testing.T) {
	script, err := simulate.ParseInject("test", strings.NewReader(`
		at 10s data "a"
		at 20s modem CTS
		at 20s data "b"
		at 30s modem CTS|DCD
		at 40s data "c"
		at 50s modem none
		at 100s modem DSR
		at 100s data "d"`))
	if err != nil {
		t.Fatal(err)
	}
	early := []string{"NOTIFY-MODEMSTATE CTS", "NOTIFY-MODEMSTATE CTS|DCD", "NOTIFY-MODEMSTATE none"}
	for _, who := range []string{"owner", "watcher"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newMemory()
				f := &far{t: t, dial: l.dial}
				device := &simulate.Loopback{Inject: script}
				f.startWith(l, accessserver.Config{Open: device.Open, Watchers: 1})
				c := f.call()
				if who == "watcher" {
					owner := c
					defer func() { _ = owner.Close() }()
					c = f.call()
				}
				defer func() { _ = c.Close() }()
				c.ask(rfc2217.FlowSuspend)
				got := c.within(60 * time.Second)
				devicetest.Expect(t, "while paused", got, early)
				c.ask(rfc2217.FlowResume)
				got = c.within(time.Hour)
				if want := []string{"abc", "NOTIFY-MODEMSTATE DSR", "d"}; strings.Join(got, "") != strings.Join(want, "") {
					t.Errorf("after the pause: got %q, want %q", got, want)
				}
			})
		})
	}
}

// TestPausedOwnerHoldsNoWatcher: while the owner suspends the data a watcher does not get it either, but gets the lines.
func TestPausedOwnerHoldsNoWatcher(t *testing.T) {
	script, err := simulate.ParseInject("test", strings.NewReader("at 10s data \"a\"\nat 20s data \"b\"\nat 30s modem CTS\nat 30s data \"c\""))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		f := &far{t: t, dial: l.dial}
		device := &simulate.Loopback{Inject: script}
		f.startWith(l, accessserver.Config{Open: device.Open, Watchers: 1})
		owner := f.call()
		defer func() { _ = owner.Close() }()
		watcher := f.call()
		defer func() { _ = watcher.Close() }()
		owner.ask(rfc2217.FlowSuspend)
		got := watcher.within(60 * time.Second)
		devicetest.Expect(t, "the watcher while the owner pauses", got, []string{"a", "NOTIFY-MODEMSTATE CTS"})
		owner.ask(rfc2217.FlowResume)
		got = watcher.within(60 * time.Second)
		if strings.Join(got, "") != "bc" {
			t.Errorf("after it: got %q, want the data alone", got)
		}
	})
}

// TestOrderOfLinesAndData: without a suspension each change keeps its place, also a pulse.
func TestOrderOfLinesAndData(t *testing.T) {
	script, err := simulate.ParseInject("test", strings.NewReader(
		"at 1s data \"a\"\nat 1s modem CTS\nat 1s data \"b\"\nat 1s modem none\nat 1s data \"c\"\nat 1s modem CTS\nat 1s modem none\nat 1s data \"d\""))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, script...).connect(rfc2217.Config{Quirks: rfc2217.KeepGreeting})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, want := c.seen(), []string{"modem none", "a", "modem CTS", "b", "modem none", "c", "modem CTS", "modem none", "d"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
