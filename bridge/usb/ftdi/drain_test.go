package ftdi_test

import (
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// TestEmptyIsCheckedInOrder: bytes that are given back after Unsent has answered do not count as sent: the answer does not
// include them.
func TestEmptyIsCheckedInOrder(t *testing.T) {
	var b *bed
	var meanwhile func() // what happens between Unsent's answer and the chip's use of it
	b = plugIn(t, uart.PortConfig{Unsent: func() uart.Unsent {
		if meanwhile != nil {
			meanwhile()
		}
		return uart.Unsent{}
	}})
	b.opens()
	if _, err := b.driver.write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b.driver.request(1, 0x0101, 0)
	b.wants("data x")
	meanwhile = func() {
		meanwhile = nil
		b.wants("settings DTR on") // gives x back: now the far UART sends it
	}
	status, err := b.driver.modemStatus()
	if err != nil || status[1]&0x60 != 0 {
		t.Errorf("the transmitter is empty (%#x, %v) although Unsent was called before the last byte was given back", status[1], err)
	}
}

// TestHeldWithoutSession: a drain goes on as long as the driver has bytes. So without a session the chip answers the transfers
// that it holds, and a drain of a full queue ends, as does a close; the bytes stay. There is a limit.
func TestHeldWithoutSession(t *testing.T) {
	const kept = driverFifo / 2 // bytes that the driver has to keep
	var unsent atomic.Int64
	b := plugIn(t, uart.PortConfig{Unsent: func() uart.Unsent { return uart.Unsent{Left: time.Duration(unsent.Load())} }})
	b.opens()
	if _, err := b.driver.write(make([]byte, ordered.Limit+kept)); err != nil {
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
	b.requests(6, 0, 0)
	if held.IsDone() {
		t.Error("without a session there is no back pressure any more")
	}
	for left := 2*ordered.Limit + kept; left > 0; {
		p, e := b.next()
		if e.Kind != uart.KindData {
			t.Fatalf("next: got %v, want bytes", e)
		}
		left -= len(p)
	}
	held.Wait()
}
