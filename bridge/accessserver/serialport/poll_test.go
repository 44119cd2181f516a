package serialport

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/uart"
)

// chip is a tty with modem lines and counters, which a machine without a serial port does not have. Its transmitter sends
// nothing until the test empties it.
type chip struct {
	woken chan struct{} // one slot
	done  chan struct{}

	mu       sync.Mutex // guards everything below
	lines    uart.ModemState
	c        counts
	counting bool
	held     int // bytes not sent
}

func newChip(counting bool) *chip {
	return &chip{woken: make(chan struct{}, 1), done: make(chan struct{}), counting: counting}
}

func (c *chip) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *chip) traits() traits { return traits{} }

func (c *chip) read([]byte) (int, error) {
	select {
	case <-c.woken:
		return 0, nil
	case <-c.done:
		return 0, errors.New("closed")
	}
}

func (c *chip) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

func (c *chip) write(p []byte) (int, error) {
	c.do(func() { c.held += len(p) })
	return len(p), nil
}

func (c *chip) stop()   {}
func (c *chip) resume() {}

func (c *chip) apply(_, before uart.Event) (uart.Event, error) { return before, nil }

func (c *chip) modem() (m uart.ModemState, ok bool) {
	c.do(func() { m = c.lines })
	return m, true
}

func (c *chip) counts() (n counts, ok bool) {
	c.do(func() { n, ok = c.c, c.counting })
	return n, ok
}

func (c *chip) queued() (n, more int) {
	c.do(func() { n = c.held })
	return n, 0
}

func (c *chip) flush(uart.Purge) error { return nil }

func (c *chip) close() error {
	close(c.done)
	return nil
}

// reported returns the events of a device on c while f works on it.
func reported(c *chip, f func(d *device)) (events []string) {
	d := newDevice("chip", c, uart.Event{Coding: uart.DefaultCoding()})
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			_, e, err := d.Next()
			if err != nil {
				return
			}
			events = append(events, e.String())
		}
	}()
	f(d)
	_ = d.Close()
	<-over
	return events
}

// Changes are reported at once, and pulses too if the driver counts edges, and nothing else.
func TestModemLines(t *testing.T) {
	for _, tt := range []struct {
		name     string
		counting bool
		do       []func(c *chip)
		want     []string
	}{
		{"changes", true, []func(*chip){
			func(c *chip) { c.lines, c.c.cts = uart.CTS, 1 },
			func(c *chip) { c.lines, c.c.dsr = uart.CTS|uart.DSR, 1 },
			func(c *chip) { c.lines, c.c.cts, c.c.dsr = 0, 2, 2 },
		}, []string{"modem CTS", "modem CTS|DSR", "modem none"}},
		{"changes without counters", false, []func(*chip){
			func(c *chip) { c.lines = uart.CTS },
			func(c *chip) { c.lines = uart.DCD },
		}, []string{"modem CTS", "modem DCD"}},
		{"a pulse", true, []func(*chip){func(c *chip) { c.c.cts = 2 }}, []string{"modem CTS", "modem none"}},
		{"a pulse of which the driver counts only one edge", true, []func(*chip){func(c *chip) { c.c.ri = 1 }}, []string{"modem RI", "modem none"}},
		{"a pulse beside a change", true, []func(*chip){
			func(c *chip) { c.lines, c.c.dsr, c.c.cts = uart.DSR, 1, 2 },
		}, []string{"modem CTS|DSR", "modem DSR"}},
		{"overruns", true, []func(*chip){
			func(c *chip) { c.c.overrun = 3 },
			func(c *chip) { c.c.bufOverrun = 1 },
		}, []string{"line overrun", "line overrun"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newChip(tt.counting)
				got := reported(c, func(*device) {
					for _, f := range tt.do {
						c.do(func() { f(c) })
						time.Sleep(linesEvery)
						synctest.Wait()
					}
				})
				if !slices.Equal(got, tt.want) {
					t.Errorf("events: got %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// The empty transmitter is reported once after a write, and not before it is empty.
func TestEmptyTransmitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChip(true)
		got := reported(c, func(d *device) {
			time.Sleep(time.Minute) // nothing was written, so nothing is reported
			for range 2 {
				if _, err := d.Write([]byte("held")); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				if want := d.inForce.Coding.LineTime(4); d.Unsent() != want {
					t.Errorf("unsent: got %v, want %v", d.Unsent(), want)
				}
				c.do(func() { c.held = 0 })
				time.Sleep(countersEvery)
				synctest.Wait()
				if d.Unsent() != 0 {
					t.Errorf("unsent: got %v, want 0", d.Unsent())
				}
			}
		})
		if want := []string{"line TEMT|THRE", "line TEMT|THRE"}; !slices.Equal(got, want) {
			t.Errorf("events: got %v, want %v", got, want)
		}
	})
}

// If nobody takes the events, a bounded number is kept, and the last state is among them.
func TestEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChip(true)
		d := newDevice("chip", c, uart.Event{Coding: uart.DefaultCoding()})
		for i := range int32(1000) {
			c.do(func() { c.lines, c.c.cts = c.lines^uart.CTS, i+1 })
			time.Sleep(linesEvery)
		}
		c.do(func() { c.lines, c.c.dcd = uart.DCD, 1 })
		time.Sleep(linesEvery)
		_ = d.Close()
		if n := len(d.pending); n != uart.DeviceEvents || d.pending[n-1].Modem != uart.DCD {
			t.Errorf("kept: got %d, the last %v; want %d, the last DCD", n, d.pending[n-1], uart.DeviceEvents)
		}
		if d.Modem() != uart.DCD {
			t.Errorf("modem state: got %v, want DCD", d.Modem())
		}
	})
}
