package ptyhost_test

import (
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
)

// How often changes and bytes come out in order: c is a change, letters are bytes, a dot is 200 microseconds. Everything
// arrives, and the bytes among themselves are in order, always. The place of the change among them is right nearly always; the
// share is logged, and the limit is what a busy machine can keep.
func TestOrderShares(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		least   float64 // share in order; 0: a pty cannot know
	}{
		{"cA", 0.9}, {"Ac", 0.9}, {"c.A", 0.9}, {"A.c", 0.9}, {"A.cB", 0.9}, {"Ac.B", 0.9},
		{"AcB", 0}, // within one wake-up the place of the change is unknown
	} {
		best := 0.0
		for range 3 { // a machine that stalls for 200 microseconds and more does so for a while
			if best = max(best, orderShare(t, tt.pattern, often(1000))); best >= tt.least {
				break
			}
		}
		if best < tt.least {
			t.Errorf("%s: %.1f %% in order, want at least %.0f", tt.pattern, 100*best, 100*tt.least)
		}
	}
}

// orderShare is the share of the rounds in which a pattern came out in order.
func orderShare(t *testing.T, pattern string, rounds int) float64 {
	t.Helper()
	b := listening(t)
	defer b.port.Close()
	p := b.program()
	defer p.Close()
	want := strings.ReplaceAll(pattern, ".", "")
	right, rate := 0, uint32(1000)
	for range rounds {
		rate = 3000 - rate // 1000 and 2000 in turn
		for _, step := range pattern {
			switch step {
			case 'c':
				b.set(p, baud(rate))
			case '.':
				time.Sleep(200 * time.Microsecond) // the program's speed, nothing waits for it
			default:
				b.writes(p, string(step))
			}
		}
		if b.outcome(want, rate) == want {
			right++
		}
	}
	t.Logf("%-5s %5.1f %% of %d in order", pattern, 100*float64(right)/float64(rounds), rounds)
	return float64(right) / float64(rounds)
}

// outcome takes the result of a pattern: its bytes in order, and c at the place of its one change to rate.
func (b *bench) outcome(want string, rate uint32) (got string) {
	b.Helper()
	for len(got) < len(want) {
		switch i := b.take(); i.event.Kind {
		case uart.KindData:
			got += i.data
		case uart.KindSettings:
			if i.event.Coding.Baud != rate {
				b.Fatalf("%s: got %v, want %d baud", want, i, rate)
			}
			got += "c"
		default:
			b.Fatalf("%s: got %v", want, i)
		}
	}
	if strings.ReplaceAll(got, "c", "") != strings.ReplaceAll(want, "c", "") || strings.Count(got, "c") != 1 {
		b.Fatalf("got %q, want the bytes of %q and one change", got, want)
	}
	return got
}
