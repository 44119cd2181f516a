package ftdi_test

import (
	"testing"

	"telnetcpc/bridge/uart"
)

// TestMute: a driver that releases the adapter without taking a transfer back has closed the port, and Next reports that. Then
// Next reports no open or close until a close after Quiet; from the next open on its reports are complete.
func TestMute(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	before := b.announced(uart.KindClosed)
	b.chip.Mute()
	b.wants("closed")
	if got := b.announced(uart.KindClosed); got != before+1 {
		t.Errorf("%d closes were announced, want 1", got-before)
	}
	b.chip.Mute()
	b.driver.closes() // a late close is not reported

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
