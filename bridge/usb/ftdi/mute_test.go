package ftdi_test

import (
	"testing"

	"telnetcpc/bridge/uart"
)

// TestMute: a driver that lets go of the adapter without taking anything back has closed the port: Next says so. Nothing is
// told then, whoever opens and closes, until a close after Quiet; what is said from the next open on is whole.
func TestMute(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	called := b.calledOut(uart.KindClosed)
	b.chip.Mute()
	b.wants("closed")
	if got := b.calledOut(uart.KindClosed); got != called+1 {
		t.Errorf("%d closes were called out, want 1", got-called)
	}
	b.chip.Mute()
	b.driver.closes() // a close that comes late is of nobody

	visit := func(baud uint32) {
		t.Helper()
		if err := b.driver.open(); err != nil {
			t.Fatal(err)
		}
		b.driver.set(uart.Event{Coding: uart.Coding{Baud: baud}})
		if _, err := b.driver.write([]byte("to nobody")); err != nil {
			t.Fatal(err)
		}
		b.driver.closes()
	}
	visit(300)
	visit(600)
	over := b.chip.Quiet()
	select {
	case <-over:
		t.Error("a close before Quiet has ended it")
	default:
	}
	visit(1200)
	<-over
	go func() {
		_ = b.driver.open()
		b.driver.set(uart.Event{Coding: uart.Coding{Baud: 2400}})
	}()
	_, e := b.next()
	if e.Kind != uart.KindOpened {
		t.Fatalf("got %v, want the open", e)
	}
	e.Ready(nil)
	b.wants("settings 1200 8N1 none", "settings DTR on RTS on", "settings 2400 8N1 none")
}
