package ordered_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

var boundRounds = flag.Int("bound.rounds", 5_000, "how often each pattern of the bound's test is repeated")

const (
	// mostEvents is how many events a queue holds at most, whatever is done to it.
	mostEvents = 1024 + 8
	// mostHeap is how much memory it takes at most beside its bytes.
	mostHeap = 512 << 10
)

// does acts on a letter as a host would: o and c are open and close, b a byte, s, f, d, r and k line coding, flow control, DTR,
// RTS and break, p and q a purge of the transmit or receive buffer.
func does(q *ordered.Queue, what rune, i int) {
	level := uart.LevelOf(i%2 == 0)
	e := uart.Event{Kind: uart.KindSettings}
	switch what {
	case 'b':
		q.Push([]byte{byte(i)})
		return
	case 'o':
		e = uart.Event{Kind: uart.KindOpened, Ready: func(error) {}}
	case 'c':
		e = uart.Event{Kind: uart.KindClosed}
	case 's':
		e.Coding.Baud = uint32(300 + i)
	case 'f':
		e.Flow.Out = uart.FlowNone
	case 'd':
		e.Control.DTR = level
	case 'r':
		e.Control.RTS = level
	case 'k':
		e.Control.Break = level
	case 'p':
		q.Drop()
		e = uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeTx}
	case 'q':
		e = uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeRx}
	}
	q.Add(e)
}

// waits empties a queue and returns how many events were in it.
func waits(q *ordered.Queue) (events int) {
	var buf [4096]byte
	for !q.Empty() {
		if _, ok := q.Event(); ok {
			events++
			continue
		}
		q.Take(buf[:])
	}
	return events
}

// TestAnyPatternIsBounded: whatever programs repeat while nothing is taken, few events wait.
func TestAnyPatternIsBounded(t *testing.T) {
	patterns := []string{
		"ps", "sp", "qs", "qbs", "bs", "bd", "bdr", "bq", "bk", "dk", "d", "dp", "dq", "sdqbp", "odrbdrc", "oc", "obc", "odrdrc",
		"opc", "osqdc", "odbqskrbqc", "obqbsbc", "oqbcq", "obcsd", "obcbdq",
	}
	r := rand.New(rand.NewPCG(14, 0))
	for range 40 { // a visit with random actions, then more of them
		var s strings.Builder
		some := func() {
			for range r.IntN(6) {
				s.WriteByte("bbsfdrkpq"[r.IntN(9)])
			}
		}
		s.WriteByte('o')
		some()
		s.WriteByte('c')
		some()
		patterns = append(patterns, s.String())
	}
	for _, pattern := range patterns {
		var q ordered.Queue
		bytes := 0
		held := heap(1, func(int) {
			for i := range *boundRounds {
				for _, what := range pattern {
					does(&q, what, i)
				}
				bytes = max(bytes, q.Len())
			}
		})
		// A FIFO that grows has at most twice its bytes.
		if most := uint64(mostHeap + 3*bytes); held > most {
			t.Errorf("%q: %d bytes of memory, want at most %d", pattern, held, most)
		}
		if n := waits(&q); n > mostEvents {
			t.Errorf("%q: %d events wait, want at most %d", pattern, n, mostEvents)
		}
		runtime.KeepAlive(&q)
	}
}

// TestNothingIsReportedEarly: however full the queue is, no change is reported before a byte that was written before it, and the
// last state is reported. The baud rate of each change is 1 plus the number of bytes before it.
func TestNothingIsReportedEarly(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			var q ordered.Queue
			written, dtr := uint32(0), uart.LevelOff
			for range 20_000 {
				switch r.IntN(4) {
				case 0, 1:
					q.Push([]byte("x"))
					written++
				case 2:
					q.Add(uart.Event{Kind: uart.KindSettings, Coding: uart.Coding{Baud: 1 + written}})
				case 3:
					dtr = uart.LevelOf(r.IntN(2) == 0)
					q.Add(uart.Event{Kind: uart.KindSettings, Control: uart.Control{DTR: dtr}})
				}
			}
			q.Add(uart.Event{Kind: uart.KindSettings, Coding: uart.Coding{Baud: 1 + written}})
			taken, baud, level := uint32(0), uint32(0), uart.Level(0)
			for buf := make([]byte, 100); !q.Empty(); {
				if e, ok := q.Event(); ok {
					baud, level = e.Coding.Over(uart.Coding{Baud: baud}).Baud, e.Control.Over(uart.Control{DTR: level}).DTR
					if e.Coding.Baud > 1+taken {
						t.Fatalf("the change after byte %d is reported after byte %d", e.Coding.Baud-1, taken)
					}
					continue
				}
				taken += uint32(q.Take(buf))
			}
			if taken != written || baud != 1+written || level != dtr {
				t.Errorf("at the end: %d bytes, %d, DTR %v; want %d, %d, %v", taken, baud, level, written, 1+written, dtr)
			}
		})
	}
}
