package ftdi_test

import (
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// TestEmptyIsAskedInOrder: bytes that come back while the far UART is asked are in no answer: it did not know them yet.
func TestEmptyIsAskedInOrder(t *testing.T) {
	var b *bed
	var asked func() // what happens between Unsent's answer and whatever the chip does with it
	b = plugIn(t, uart.PortConfig{Unsent: func() uart.Unsent {
		if asked != nil {
			asked()
		}
		return uart.Unsent{}
	}})
	b.opens()
	if _, err := b.driver.write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b.driver.request(1, 0x0101, 0)
	b.wants("data x")
	asked = func() {
		asked = nil
		b.wants("settings DTR on") // gives x back: now the far UART sends it
	}
	status, err := b.driver.modemStatus()
	if err != nil || status[1]&0x60 != 0 {
		t.Errorf("the transmitter is empty (%#x, %v) though Unsent was asked before the last byte came back", status[1], err)
	}
}

// TestHeldWithoutSession: the driver says that nothing waits when it has none of the bytes any more. So where no byte is
// waited for the chip takes what it has held back, and a drain of a full queue ends, as a close does; the bytes stay. It
// does not go on for ever.
func TestHeldWithoutSession(t *testing.T) {
	const behind = driverFifo / 2 // bytes that the driver has to keep
	var unsent atomic.Int64
	b := plugIn(t, uart.PortConfig{Unsent: func() uart.Unsent { return uart.Unsent{Left: time.Duration(unsent.Load())} }})
	b.opens()
	if _, err := b.driver.write(make([]byte, ordered.Limit+behind)); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- b.driver.drain() }()
	select {
	case <-drained:
		t.Fatal("drained while the driver has bytes")
	case <-time.After(100 * time.Millisecond):
	}
	unsent.Store(-1)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}

	held := &usbiptest.URB{Endpoint: 2, Data: make([]byte, ordered.Limit)}
	_ = b.host.Submit(held)
	b.asks(6, 0, 0)
	if held.IsDone() {
		t.Error("without a session there is no back pressure any more")
	}
	for left := 2*ordered.Limit + behind; left > 0; {
		p, e := b.next()
		if e.Kind != uart.KindData {
			t.Fatalf("next: got %v, want bytes", e)
		}
		left -= len(p)
	}
	held.Wait()
}
