package bridge_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
)

// An open waits for its first dial with its own bytes only, not with those of the previous open.
func TestAFreshOpenKeepsNoOldBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.refuse = errors.New("away")
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		time.Sleep(time.Second) // its dial has failed
		b.write("old")
		p.AppClose()
		f.set(func() { f.refuse, f.takes = nil, 8*time.Second })
		p.AppOpen()
		b.write("new")
		s := f.session(0)
		s.take(3)
		b.want(s, "settings 9600 8N1", "data new")
		if got := b.status().UpDropped; got != 3 {
			t.Errorf("dropped: got %d, want 3", got)
		}
		b.end()
	})
}

// Bytes that a session had begun to take are as old as bytes that no session took.
func TestBytesInHandAge(t *testing.T) {
	for name, tc := range map[string]struct {
		hold *time.Duration
		lost func(b *bench, s *farSession) (over func())
	}{
		"lost": {nil, func(b *bench, s *farSession) func() { return outage(s.far, s) }},
		"asleep": {nil, func(b *bench, _ *farSession) func() {
			b.bridge.Sleep()
			return b.bridge.Wake
		}},
		"nothing is held": {new(time.Duration(0)), func(b *bench, s *farSession) func() { return outage(s.far, s) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.dead, f.takes = true, time.Second
				b := start(t, bridge.Policy{HoldFor: tc.hold}, f, 0)
				b.port().AppOpen()
				b.write(strings.Repeat("x", 3000)) // held for the first dial
				s := f.session(0)
				f.set(func() { s.window = 100 })
				s.take(100)
				synctest.Wait()
				over := tc.lost(b, s)
				time.Sleep(10 * time.Second)
				want := []string{"settings 9600 8N1"}
				if tc.hold == nil {
					b.write("new")
					want = append(want, "data new")
				}
				f.set(func() { f.dead = false })
				over()
				s = f.session(1)
				time.Sleep(time.Second)
				b.want(s, want...)
				if got := b.status().UpDropped; got != 2900 {
					t.Errorf("dropped: got %d, want 2900", got)
				}
				b.end()
			})
		})
	}
}

// Held bytes wait for the first dial of an open for up to 10 s.
func TestASlowFirstDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{OnLoss: bridge.OnLossDiscard}, f, 0)
		f.set(func() { f.takes = 15 * time.Second })
		s.lose(errReset)
		synctest.Wait()
		p.AppClose()
		p.AppOpen()
		b.write("old") // before the dial begins; the timer must fire without an event
		b.want(f.session(1), "settings 9600 8N1")
		if got := b.status().UpDropped; got != 3 {
			t.Errorf("dropped: got %d, want 3", got)
		}
		b.end()
	})
}

// A server that dies silently is noticed late: what its line had not carried by then counts as lost.
func TestLossOfASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b, _, s := opened(t, bridge.Policy{}, f, 0)
		b.write(strings.Repeat("x", 50_000)) // 52 s at 9600, all of it taken at once
		s.take(50_000)
		time.Sleep(5 * time.Second)
		truth := uint64(s.waiting())
		f.set(func() { s.silent = time.Now() })
		f.session(1)
		if got := b.status().LastLoss; got.AtMost < truth || got.AtMost > truth+5<<10 {
			t.Errorf("lost_at_most is %d, actually lost: %d", got.AtMost, truth)
		}
		b.end()
	})
}
