package ptyhost_test

import (
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
)

// How often the order of changes and bytes comes out right: c is a change, letters are bytes, a dot is 200 microseconds.
// What a pty can tell of the order is measured and logged here, for people; what must hold is that everything comes, the
// bytes among themselves in order.
func TestOrderShares(t *testing.T) {
	const rounds = 150
	for _, pattern := range []string{"cA", "Ac", "c.A", "A.c", "A.cB", "Ac.B", "AcB"} {
		b := listening(t)
		p := b.program()
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
			want := strings.ReplaceAll(pattern, ".", "")
			got := ""
			for len(got) < len(want) {
				switch i := b.take(); i.event.Kind {
				case uart.KindData:
					got += i.data
				case uart.KindSettings:
					if i.event.Coding.Baud != rate {
						t.Fatalf("%s: got %v, want %d baud", pattern, i, rate)
					}
					got += "c"
				default:
					t.Fatalf("%s: got %v", pattern, i)
				}
			}
			if strings.ReplaceAll(got, "c", "") != strings.ReplaceAll(want, "c", "") || strings.Count(got, "c") != 1 {
				t.Fatalf("got %q, want the bytes of %q and one change", got, want)
			}
			if got == want {
				right++
			}
		}
		t.Logf("%-5s %5.1f %% of %d in order", pattern, 100*float64(right)/rounds, rounds)
	}
}
