package bridge_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
)

// The machine sleeps while an application has the port open: the session ends, the lines fall, the port stays. When it
// wakes, the session comes back and gets the whole state before the bytes that were held.
func TestSleepAndWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		p.AppSet(coding("19200 7E1"))
		p.AppSet(lines("DTR on RTS on"))
		s := f.session(0)
		all := uart.CTS | uart.DSR | uart.DCD | uart.RI
		s.send(uart.Event{Kind: uart.KindModem, Modem: all})
		p.AppModem(all)

		b.bridge.Sleep()
		s.ended()
		p.AppModem(0)
		p.AppSet(coding("9600 8N1"))
		b.write("held")
		time.Sleep(time.Hour)
		if sessions, dials := f.count(); sessions != 1 || dials != 1 {
			t.Errorf("asleep for an hour: %d sessions, %d dials, want 1 and 1", sessions, dials)
		}

		b.bridge.Wake()
		s = f.session(1)
		synctest.Wait()
		b.want(s, "settings 9600 8N1 DTR on RTS on", "data held")
		p.AppModem(uart.DCD) // what the device reported before the sleep is outdated
		s.send(uart.Event{Kind: uart.KindModem, Modem: all})
		p.AppModem(all)
		if p.Closed() || len(b.ports) != 1 {
			t.Error("the port is gone")
		}
		b.end()
	})
}

// A dial in progress when the machine goes to sleep leads to nothing, and is no failure.
func TestSleepWhileDialing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.set(func() { f.refuse = errors.New("not yet") })
		b := start(t, bridge.Policy{Connect: bridge.ConnectAlways}, f, 0)
		time.Sleep(time.Minute)
		b.bridge.Sleep()
		b.bridge.Sleep()
		synctest.Wait()
		_, before := f.count()
		time.Sleep(time.Hour)
		if _, after := f.count(); after != before {
			t.Errorf("%d dials while asleep", after-before)
		}
		if got := b.status().Link; got != bridge.LinkIdle {
			t.Errorf("asleep: the link is %s, want idle", got)
		}
		f.set(func() { f.refuse = nil })
		b.bridge.Wake()
		synctest.Wait() // at once: the sleep has reset the delay between dials
		if sessions, _ := f.count(); sessions != 1 {
			t.Errorf("awake: %d sessions, want 1", sessions)
		}
		b.end()
	})
}

// The last bytes of a closed port that make no progress are never sent late, unless they are to be held for ever.
func TestSleepAndLastBytes(t *testing.T) {
	for name, tc := range map[string]struct {
		hold *time.Duration
		want []string
		lost uint64
	}{
		"old commands are never sent": {nil, []string{"settings 9600 8N1"}, 10},
		"held for ever":               {new(bridge.Forever), []string{"settings 9600 8N1", "data last words"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.set(func() { f.dead = true })
				b := start(t, bridge.Policy{HoldFor: tc.hold}, f, 0)
				p := b.port()
				p.AppOpen()
				f.session(0)
				b.write("last words")
				p.AppClose()
				time.Sleep(20 * time.Second)
				b.bridge.Sleep()
				time.Sleep(time.Hour)
				f.set(func() { f.dead = false })
				b.bridge.Wake()
				time.Sleep(time.Second)
				p.AppOpen()
				s := f.session(1)
				b.want(s, tc.want...)
				if got := b.status().UpDropped; got != tc.lost {
					t.Errorf("dropped: got %d, want %d", got, tc.lost)
				}
				b.end()
			})
		})
	}
}
