package accessserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/uart"
)

// bench is a simulated UART and everything that it did and that came from it.
type bench struct {
	uart.Device
	t       *testing.T
	start   time.Time
	records []string      // what the observer saw
	came    []string      // what Next returned; a test reads it when it has ended the bench, before that with seen
	bytes   []byte        // its bytes
	when    time.Duration // of the last byte
	mu      sync.Mutex    // over came
	over    chan struct{} // Next has returned an error
}

// newBench opens a simulated UART inside a synctest bubble and reads it until it is closed.
func newBench(t *testing.T, inject ...accessserver.Injection) *bench {
	t.Helper()
	b := &bench{t: t, start: time.Now(), over: make(chan struct{})}
	l := &accessserver.Loopback{Inject: inject}
	l.Observe(func(r accessserver.Record) {
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
	b.Device = d
	return b
}

// read collects what comes from the line until it is closed.
func (b *bench) read() *bench {
	go func() {
		defer close(b.over)
		for {
			p, e, err := b.Next()
			if err != nil {
				return
			}
			what := e.String()
			switch {
			case e.Kind == uart.KindData:
				what = fmt.Sprintf("%q", p)
			case len(p) > 0: // a break's NUL
				what += fmt.Sprintf(" %q", p)
			}
			b.mu.Lock()
			b.came = append(b.came, what)
			b.mu.Unlock()
			b.bytes = append(b.bytes, p...)
			b.when = time.Since(b.start)
		}
	}()
	return b
}

func (b *bench) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.came)
}

func (b *bench) write(p string) {
	b.t.Helper()
	if n, err := b.Write([]byte(p)); n != len(p) || err != nil {
		b.t.Fatalf("write: got %d, %v", n, err)
	}
}

func (b *bench) apply(e uart.Event) uart.Event {
	b.t.Helper()
	inForce, err := b.Apply(e)
	if err != nil {
		b.t.Fatal(err)
	}
	return inForce
}

// end closes the UART and waits for the reader.
func (b *bench) end() {
	_ = b.Close()
	<-b.over
}

func coding(t *testing.T, s string) uart.Event {
	t.Helper()
	c, err := uart.ParseCoding(s)
	if err != nil {
		t.Fatal(err)
	}
	return uart.Event{Coding: c}
}

func expect(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// A transfer takes the time that its line coding implies: no more for the pieces it is written in, no less.
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
				b := newBench(t).read()
				e := coding(t, c.coding)
				b.apply(e)
				for sent := 0; sent < c.bytes; sent += 1000 {
					b.write(strings.Repeat("U", min(1000, c.bytes-sent)))
				}
				for b.Unsent() > 0 {
					time.Sleep(b.Unsent())
				}
				synctest.Wait()
				if len(b.bytes) != c.bytes {
					t.Errorf("came back: got %d bytes, want %d", len(b.bytes), c.bytes)
				}
				ratio := float64(b.when) / float64(e.Coding.LineTime(c.bytes))
				if math.Abs(ratio-1) > 0.002 {
					t.Errorf("%d bytes took %v, %.4f of the line time", c.bytes, b.when, ratio)
				}
				b.end()
			})
		})
	}
}

// An idle line earns nothing: bytes written later take their time from then.
func TestPaceAfterIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).read()
		b.apply(coding(t, "300"))
		b.write("a")
		time.Sleep(time.Hour)
		b.write("b")
		if got, want := b.Unsent(), coding(t, "300").Coding.LineTime(1); got != want {
			t.Errorf("unsent: got %v, want %v", got, want)
		}
		b.end()
	})
}

func TestUnlimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).read()
		b.apply(uart.Event{Coding: uart.Coding{Baud: math.MaxUint32}})
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		b.write(string(want))
		synctest.Wait()
		if !bytes.Equal(b.bytes, want) || b.when != 0 {
			t.Errorf("got %d bytes in %v, want all %d in no time", len(b.bytes), b.when, len(want))
		}
		b.end()
	})
}

func TestWiring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).read()
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
			b.apply(c.e)
			if got := b.Modem(); got != c.want {
				t.Errorf("%v: got %v, want %v", c.e, got, c.want)
			}
		}
		b.end()
		expect(t, "modem states", b.came, []string{
			"modem CTS", "modem CTS|DSR|DCD|RI", "modem DSR|DCD|RI", "modem CTS", "modem none", "modem CTS", "modem none",
		})
	})
}

func TestInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).read()
		const fresh = "settings 9600 8N1 none DTR off RTS off break off"
		if got := b.apply(uart.Event{}).String(); got != fresh {
			t.Errorf("asked: got %s, want %s", got, fresh)
		}
		got := b.apply(uart.Event{
			Coding:  uart.Coding{Baud: 19200, Parity: uart.ParityEven},
			Flow:    uart.Flow{Out: uart.FlowXonXoff},
			Control: uart.Control{DTR: uart.LevelOn},
		}).String()
		if want := "settings 19200 8E1 xonxoff/none DTR on RTS off break off"; got != want {
			t.Errorf("set: got %s, want %s", got, want)
		}
		b.end()
		expect(t, "records", b.records, []string{
			"opened", "settings 19200 ?E? xonxoff/ DTR on", "settings DTR off RTS off break off", "closed",
		})
	})
}

// Bytes in the transmit buffer go out at the coding that is in force when their turn comes, cut to its data bits.
func TestCodingOfEachByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).read()
		b.apply(coding(t, "300 8N1"))
		b.write("\xc1\xc2\xc3")
		time.Sleep(coding(t, "300 8N1").Coding.LineTime(1))
		b.apply(coding(t, "9600 7E1"))
		time.Sleep(b.Unsent())
		synctest.Wait()
		if want := "\xc1\x42\x43"; string(b.bytes) != want {
			t.Errorf("came back: got %q, want %q", b.bytes, want)
		}
		b.end()
		expect(t, "records", b.records, []string{
			"opened", "settings 300 8N1", `"\xc1" at 300 8N1`, "settings 9600 7E1", `"\xc2" at 9600 7E1`, `"\xc3" at 9600 7E1`,
			"closed",
		})
	})
}

func TestBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).read()
		b.apply(uart.Event{Control: uart.Control{Break: uart.LevelOn}})
		b.write("x")
		time.Sleep(time.Second)
		if b.Unsent() == 0 {
			t.Error("a byte was sent while the break lasted")
		}
		b.apply(uart.Event{Control: uart.Control{Break: uart.LevelOff}})
		time.Sleep(b.Unsent())
		synctest.Wait()
		b.end()
		expect(t, "came back", b.came, []string{`line break "\x00"`, `"x"`, "line TEMT|THRE"})
	})
}

func TestTransmitterEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).read()
		if got := b.Unsent(); got != 0 {
			t.Errorf("unsent of a fresh UART: got %v", got)
		}
		b.write("0123456789")
		if got, want := b.Unsent(), uart.DefaultCoding().LineTime(10); got != want {
			t.Errorf("unsent: got %v, want %v", got, want)
		}
		time.Sleep(b.Unsent())
		if got := b.Unsent(); got != 0 {
			t.Errorf("unsent when the time is over: got %v", got)
		}
		synctest.Wait()
		if got, want := b.came[len(b.came)-1], "line TEMT|THRE"; string(b.bytes) != "0123456789" || got != want {
			t.Errorf("got %q and last %s, want %s behind the bytes", b.bytes, got, want)
		}
		b.end()
	})
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, accessserver.Injection{
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
		b.write("new")
		time.Sleep(b.Unsent())
		b.read()
		synctest.Wait()
		if string(b.bytes) != "new" {
			t.Errorf("received after the purge: got %q, want %q", b.bytes, "new")
		}
		b.end()
		if slices.Contains(b.came, "line parity") {
			t.Errorf("got %v: the error of a purged byte would count for another", b.came)
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
				b := newBench(t).read()
				b.apply(uart.Event{Flow: c.flow})
				b.write("held")
				time.Sleep(time.Minute)
				if got := b.seen(); len(got) > 0 {
					t.Errorf("held back: got %v", got)
				}
				b.apply(uart.Event{Control: c.free})
				if got, want := b.Unsent(), uart.DefaultCoding().LineTime(4); got != want {
					t.Errorf("unsent when free: got %v, want %v", got, want)
				}
				time.Sleep(b.Unsent())
				synctest.Wait()
				if got := string(b.bytes); got != "held" {
					t.Errorf("free: got %q, want %q", got, "held")
				}
				b.end()
			})
		})
	}
}

func TestInject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list, err := accessserver.ParseInject("script", strings.NewReader(script))
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, list...).read()
		time.Sleep(1250 * time.Millisecond)
		synctest.Wait()
		first := []string{"line parity", `"A"`, `line break "\x00"`, "line framing", `"\x00"`}
		expect(t, "first", b.seen(), first)
		time.Sleep(time.Hour)
		synctest.Wait()
		expect(t, "all", b.seen(), append(first, "line overrun", "modem CTS|DSR", "modem none", `"hello\r\n"`))
		b.end()
	})
}

// Nobody reads: the loop waits and loses nothing, an injected device overruns, and memory stays bounded.
func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flood := accessserver.Injection{At: time.Hour, Data: make([]byte, 100)}
		b := newBench(t, flood)
		b.apply(uart.Event{Coding: uart.Coding{Baud: math.MaxUint32}})
		const bytes = 6000
		b.write(strings.Repeat("x", bytes))
		for range 10_000 {
			b.apply(uart.Event{Control: uart.Control{RTS: uart.LevelOn}})
			b.apply(uart.Event{Control: uart.Control{RTS: uart.LevelOff}})
		}
		time.Sleep(2 * time.Hour)
		b.read()
		synctest.Wait()
		b.end()
		if got := strings.Count(string(b.bytes), "x"); got != bytes {
			t.Errorf("came back: got %d bytes, want %d", got, bytes)
		}
		if !slices.Contains(b.came, "line overrun") {
			t.Error("the injected bytes did not overrun the full buffer")
		}
		if got := len(b.came); got > 300 {
			t.Errorf("%d events and pieces were kept", got)
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
