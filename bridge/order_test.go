package bridge_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
)

// A change that waits for the bytes before it when the session is lost is older than what came after it.
func TestChangesStayInOrderOverALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
		p := b.port()
		p.AppOpen()
		over := outage(f, f.session(0))
		b.write(strings.Repeat("x", 5000))
		p.AppSet(coding("19200 8N1"))
		p.AppSet(coding("1200 7E1"))
		over()
		s := f.session(1)
		s.take(5000)
		synctest.Wait() // the first change waits for the line
		over = outage(f, s)
		over()
		b.want(f.session(2), "settings 1200 7E1")
		b.end()
	})
}

// What the application changes while a new session gets the state comes before the bytes after it.
func TestChangeWhileTheStateIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.applyTakes = time.Second
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		time.Sleep(500 * time.Millisecond)
		p.AppSet(coding("19200 8N1"))
		b.write("at 19200")
		s := f.session(0)
		s.take(8)
		b.want(s, "settings 9600 8N1", "settings 19200", "data at 19200")
		b.end()
	})
}

// A session that is about to end gets no change: a server may send what it has after our FIN, at the previous coding.
func TestNoChangeForASessionThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
		p := b.port()
		p.AppOpen()
		over := outage(f, f.session(0))
		b.write(strings.Repeat("x", 5000))
		p.AppSet(coding("115200 8N1"))
		over()
		s := f.session(1)
		s.take(5000)
		synctest.Wait() // the change waits for the line
		f.set(func() { f.aliveTakes = time.Millisecond })
		b.bridge.Sleep()
		s.ended()
		if s.line.wrong > 0 {
			t.Errorf("%d bytes had not left the line when the change came", s.line.wrong)
		}
		f.set(func() { f.aliveTakes = 0 })
		b.bridge.Wake()
		b.want(f.session(2), "settings 115200 8N1")
		b.end()
	})
}
