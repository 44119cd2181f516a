package simulate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/uart"
)

// bench is a simulated UART, everything that it did and everything that came from it.
type bench struct {
	*devicetest.Bench
	records []string // what the observer saw
}

// newBench opens a simulated UART inside a synctest bubble.
func newBench(t *testing.T, inject ...simulate.Injection) *bench {
	t.Helper()
	b := new(bench)
	l := &simulate.Loopback{Inject: inject}
	l.Observe(func(r simulate.Record) {
		s := r.Event.String()
		if r.Event.Kind == uart.KindData {
			s = fmt.Sprintf("%q at %v", r.Data, r.Coding)
		}
		b.records = append(b.records, s)
	})
	d, err := l.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b.Bench = devicetest.New(t, d)
	return b
}

// Read is devicetest.Bench's.
func (b *bench) Read() *bench {
	b.Bench.Read()
	return b
}

// A transfer takes the time that its line coding implies, whatever pieces it is written in.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		coding string
		bytes  int
	}{
		{"300 7E1", 40}, {"9600 8N1", 5000}, {"9600 8E2", 5000}, {"115200 8N1", 200_000}, {"3000000 8N1", 3_000_000},
		{"4000000 8N1", 4_000_000}, {"12000000 8N1", 1_000_000},
	} {
		t.Run(c.coding, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t).Read()
				e := devicetest.Coding(t, c.coding)
				b.Set(e)
				for sent := 0; sent < c.bytes; sent += 1000 {
					b.Send(strings.Repeat("U", min(1000, c.bytes-sent)))
				}
				for b.Unsent() > 0 {
					time.Sleep(b.Unsent())
				}
				synctest.Wait()
				if len(b.Bytes) != c.bytes {
					t.Errorf("came back: got %d bytes, want %d", len(b.Bytes), c.bytes)
				}
				ratio := float64(b.When) / float64(e.Coding.LineTime(c.bytes))
				if math.Abs(ratio-1) > 0.002 {
					t.Errorf("%d bytes took %v, %.4f of the line time", c.bytes, b.When, ratio)
				}
				b.End()
			})
		})
	}
}

// Time in which the line was idle does not count for bytes written later.
func TestPaceAfterIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).Read()
		b.Set(devicetest.Coding(t, "300"))
		b.Send("a")
		time.Sleep(time.Hour)
		b.Send("b")
		if got, want := b.Unsent(), devicetest.Coding(t, "300").Coding.LineTime(1); got != want {
			t.Errorf("unsent: got %v, want %v", got, want)
		}
		b.End()
	})
}

func TestUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).Read()
		b.Set(uart.Event{Coding: uart.Coding{Baud: math.MaxUint32}})
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		b.Send(string(want))
		synctest.Wait()
		if !bytes.Equal(b.Bytes, want) || b.When != 0 {
			t.Errorf("got %d bytes in %v, want all %d in no time", len(b.Bytes), b.When, len(want))
		}
		b.End()
	})
}

func TestWiring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).Read()
		for _, c := range []struct {
			e    uart.Event
			want uart.ModemState
		}{
			{uart.Event{Control: uart.Control{RTS: uart.LevelOn}}, uart.CTS},
			{uart.Event{Control: uart.Control{DTR: uart.LevelOn}}, uart.CTS | uart.DSR | uart.DCD | uart.RI},
			{uart.Event{Control: uart.Control{RTS: uart.LevelOff}}, uart.DSR | uart.DCD | uart.RI},
			{uart.Event{Control: uart.Control{RTS: uart.LevelOn, DTR: uart.LevelOff}}, uart.CTS},
			{uart.Event{Control: uart.Control{RTS: uart.LevelOff}}, 0},
			{uart.Event{Flow: uart.Flow{In: uart.FlowRTSCTS}}, uart.CTS},
		} {
			b.Set(c.e)
			if got := b.Modem(); got != c.want {
				t.Errorf("%v: got %v, want %v", c.e, got, c.want)
			}
		}
		b.End()
		devicetest.Expect(t, "modem states", b.Came, []string{
			"modem CTS", "modem CTS|DSR|DCD|RI", "modem DSR|DCD|RI", "modem CTS", "modem none", "modem CTS", "modem none",
		})
	})
}

func TestInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).Read()
		const fresh = "settings 9600 8N1 none DTR off RTS off break off"
		if got := b.Set(uart.Event{}).String(); got != fresh {
			t.Errorf("asked: got %s, want %s", got, fresh)
		}
		got := b.Set(uart.Event{
			Coding:  uart.Coding{Baud: 19200, Parity: uart.ParityEven},
			Flow:    uart.Flow{Out: uart.FlowXonXoff},
			Control: uart.Control{DTR: uart.LevelOn},
		}).String()
		if want := "settings 19200 8E1 xonxoff/none DTR on RTS off break off"; got != want {
			t.Errorf("set: got %s, want %s", got, want)
		}
		b.End()
		devicetest.Expect(t, "records", b.records, []string{
			"opened", "settings 19200 ?E? xonxoff/ DTR on", "settings DTR off RTS off break off", "closed",
		})
	})
}

// Bytes in the transmit buffer are sent at the coding in force when they are sent, cut to its data bits.
func TestCodingOfEachByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).Read()
		b.Set(devicetest.Coding(t, "300 8N1"))
		b.Send("\xc1\xc2\xc3")
		time.Sleep(devicetest.Coding(t, "300 8N1").Coding.LineTime(1))
		b.Set(devicetest.Coding(t, "9600 7E1"))
		time.Sleep(b.Unsent())
		synctest.Wait()
		if want := "\xc1\x42\x43"; string(b.Bytes) != want {
			t.Errorf("came back: got %q, want %q", b.Bytes, want)
		}
		b.End()
		devicetest.Expect(t, "records", b.records, []string{
			"opened", "settings 300 8N1", `"\xc1" at 300 8N1`, "settings 9600 7E1", `"\xc2" at 9600 7E1`, `"\xc3" at 9600 7E1`,
			"closed",
		})
	})
}

func TestBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).Read()
		b.Set(uart.Event{Control: uart.Control{Break: uart.LevelOn}})
		b.Send("x")
		time.Sleep(time.Second)
		if b.Unsent() == 0 {
			t.Error("a byte was sent while the break lasted")
		}
		b.Set(uart.Event{Control: uart.Control{Break: uart.LevelOff}})
		time.Sleep(b.Unsent())
		synctest.Wait()
		b.End()
		devicetest.Expect(t, "came back", b.Came, []string{`line break "\x00"`, `"x"`, "line TEMT|THRE"})
	})
}

func TestTransmitterEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).Read()
		if got := b.Unsent(); got != 0 {
			t.Errorf("unsent of a fresh UART: got %v", got)
		}
		b.Send("0123456789")
		if got, want := b.Unsent(), uart.DefaultCoding().LineTime(10); got != want {
			t.Errorf("unsent: got %v, want %v", got, want)
		}
		time.Sleep(b.Unsent())
		if got := b.Unsent(); got != 0 {
			t.Errorf("unsent when the time is over: got %v", got)
		}
		synctest.Wait()
		if got, want := b.Came[len(b.Came)-1], "line TEMT|THRE"; string(b.Bytes) != "0123456789" || got != want {
			t.Errorf("got %q and last %s, want %s after the bytes", b.Bytes, got, want)
		}
		b.End()
	})
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, simulate.Injection{
			Event: uart.Event{Kind: uart.KindLine, Line: uart.LineParity}, Data: []byte("?"),
		})
		written := make(chan int)
		go func() {
			n, _ := b.Write(make([]byte, 1<<20)) // far more than the buffer takes
			written <- n
		}()
		synctest.Wait()
		if err := b.Purge(uart.PurgeBoth); err != nil {
			t.Error(err)
		}
		if got, want := <-written, 1<<20; got != want {
			t.Errorf("blocked write: got %d, want %d", got, want)
		}
		if got := b.Unsent(); got != 0 {
			t.Errorf("unsent after the purge: got %v", got)
		}
		b.Send("new")
		time.Sleep(b.Unsent())
		b.Read()
		synctest.Wait()
		if string(b.Bytes) != "new" {
			t.Errorf("received after the purge: got %q, want %q", b.Bytes, "new")
		}
		b.End()
		if slices.Contains(b.Came, "line parity") {
			t.Errorf("got %v: the error of a purged byte would count for another", b.Came)
		}
		if !slices.Contains(b.records, "purge rx|tx") {
			t.Errorf("records: got %v", b.records)
		}
	})
}

func TestFlowHolds(t *testing.T) {
	for _, c := range []struct {
		flow uart.Flow
		free uart.Control
	}{
		{uart.Flow{Out: uart.FlowRTSCTS}, uart.Control{RTS: uart.LevelOn}},
		{uart.Flow{Out: uart.FlowDSR}, uart.Control{DTR: uart.LevelOn}},
		{uart.Flow{Out: uart.FlowDCD}, uart.Control{DTR: uart.LevelOn}},
	} {
		t.Run(c.flow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t).Read()
				b.Set(uart.Event{Flow: c.flow})
				b.Send("held")
				time.Sleep(time.Minute)
				if got := b.Seen(); len(got) > 0 {
					t.Errorf("held back: got %v", got)
				}
				b.Set(uart.Event{Control: c.free})
				if got, want := b.Unsent(), uart.DefaultCoding().LineTime(4); got != want {
					t.Errorf("unsent when free: got %v, want %v", got, want)
				}
				time.Sleep(b.Unsent())
				synctest.Wait()
				if got := string(b.Bytes); got != "held" {
					t.Errorf("free: got %q, want %q", got, "held")
				}
				b.End()
			})
		})
	}
}

func TestInject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list, err := simulate.ParseInject("script", strings.NewReader(script))
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, list...).Read()
		time.Sleep(1250 * time.Millisecond)
		synctest.Wait()
		first := []string{"line parity", `"A"`, `line break "\x00"`, "line framing", `"\x00"`}
		devicetest.Expect(t, "first", b.Seen(), first)
		time.Sleep(time.Hour)
		synctest.Wait()
		devicetest.Expect(t, "all", b.Seen(), append(first, "line overrun", "modem CTS|DSR", "modem none", `"hello\r\n"`))
		b.End()
	})
}

// While nobody reads, the loop waits and loses nothing, injected bytes overrun, and the memory stays bounded.
func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flood := simulate.Injection{At: time.Hour, Data: make([]byte, 100)}
		b := newBench(t, flood)
		b.Set(uart.Event{Coding: uart.Coding{Baud: math.MaxUint32}})
		const bytes = 6000
		b.Send(strings.Repeat("x", bytes))
		for range 10_000 {
			b.Set(uart.Event{Control: uart.Control{RTS: uart.LevelOn}})
			b.Set(uart.Event{Control: uart.Control{RTS: uart.LevelOff}})
		}
		time.Sleep(2 * time.Hour)
		b.Read()
		synctest.Wait()
		b.End()
		if got := strings.Count(string(b.Bytes), "x"); got != bytes {
			t.Errorf("came back: got %d bytes, want %d", got, bytes)
		}
		if !slices.Contains(b.Came, "line overrun") {
			t.Error("the injected bytes did not overrun the full buffer")
		}
		if got := len(b.Came); got > 300 {
			t.Errorf("%d events and pieces were kept, want at most 300", got)
		}
		if got, want := b.Modem(), uart.ModemState(0); got != want {
			t.Errorf("modem state: got %v, want %v", got, want)
		}
	})
}

func TestCloseUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		go func() { _, _ = b.Write(make([]byte, 1<<20)) }()
		synctest.Wait()
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait() // the write has returned, else the bubble ends in a deadlock
		_, writeErr := b.Write([]byte("x"))
		_, applyErr := b.Apply(uart.Event{})
		_, _, nextErr := b.Next()
		for call, err := range map[string]error{
			"write": writeErr, "apply": applyErr, "next": nextErr, "purge": b.Purge(uart.PurgeRx),
		} {
			if !errors.Is(err, uart.ErrClosed) {
				t.Errorf("%s on a closed UART: got %v, want %v", call, err, uart.ErrClosed)
			}
		}
	})
}
