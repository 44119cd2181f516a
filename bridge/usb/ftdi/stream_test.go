package ftdi_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// TestHeldOut: up to 64 KiB are accepted at once. Further transfers are answered, in order, when Next has made room;
// the bytes of unlinked ones are delivered nevertheless.
func TestHeldOut(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	const size, taken = 4096, 16
	var urbs []*usbiptest.URB
	for i := range taken + 4 {
		u := &usbiptest.URB{Endpoint: 2, Data: bytes.Repeat([]byte{byte(i)}, size)}
		b.host.Submit(u)
		urbs = append(urbs, u)
	}
	b.requests(6, 0, 0) // by now all of them have arrived
	for i, u := range urbs {
		if u.IsDone() != (i < taken) {
			t.Errorf("transfer %d: answered %v", i, u.IsDone())
		}
	}
	b.host.Unlink(urbs[taken])
	urbs[taken].Wait()
	for i := range urbs {
		if p, e := b.next(); p != string(urbs[i].Data) {
			t.Fatalf("answer %d: got %v, %d bytes of %q", i, e, len(p), p[:1])
		}
	}
	for i, u := range urbs {
		u.Wait()
		if want := map[bool]int{true: usbiptest.StatusUnlinked}[i == taken]; u.Status != want {
			t.Errorf("transfer %d: status %d, want %d", i, u.Status, want)
		}
	}
}

// TestFloodedWithUnlinks: a host that unlinks every transfer and submits more gets stalls before much memory is used.
func TestFloodedWithUnlinks(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	stalled := false
	for range 200 {
		u := &usbiptest.URB{Endpoint: 2, Data: make([]byte, 4096)}
		b.host.Submit(u)
		b.requests(6, 0, 0)
		b.host.Unlink(u)
		u.Wait()
		stalled = stalled || u.Status == usbiptest.StatusStall
	}
	if !stalled {
		t.Error("800 KiB were accepted without a call of Next")
	}
}

// TestPurge: tx drops the waiting bytes and releases held transfers, rx drops what the driver has not fetched. Both are announced;
// no setting is lost.
func TestPurge(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	var last *usbiptest.URB
	for range 20 {
		last = &usbiptest.URB{Endpoint: 2, Data: make([]byte, 4096)}
		b.host.Submit(last)
	}
	b.requests(1, 0x0100, 0)
	if last.IsDone() {
		t.Error("the last transfer is not held")
	}
	b.requests(0, 2, 0)
	last.Wait()
	if n := b.announced(uart.KindPurge); n != 1 {
		t.Errorf("purges announced: got %d, want 1", n)
	}
	written := b.resting()
	b.requests(0, 1, 0)
	b.wants("settings DTR off", "purge tx", "purge rx")
	go func() { // ends with the driver
		for buf := make([]byte, 10_000); ; {
			if _, err := b.driver.read(buf); err != nil {
				return
			}
		}
	}()
	if n := <-written; n != 100_000 {
		t.Errorf("the write that a purge interrupted: got %d", n)
	}
	if _, err := b.driver.write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	b.wants("data after")
}

// TestMerging: events do not merge, except beyond 264 without a session, and then the last state is right.
func TestMerging(t *testing.T) {
	b := plugIn(t, uart.PortConfig{Unsent: noSession})
	b.opens()
	send := func(s string) {
		u := &usbiptest.URB{Endpoint: 2, Data: []byte(s)}
		b.host.Submit(u)
		u.Wait()
	}
	b.driver.set(uart.Event{Coding: uart.Coding{Baud: 300, DataBits: 7, Parity: uart.ParityEven}})
	b.driver.set(uart.Event{Flow: uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}})
	send("a")
	b.driver.set(uart.Event{Coding: uart.Coding{Baud: 9600}})
	b.requests(1, 0x0100, 0)
	b.requests(1, 0x0101, 0)
	b.driver.set(uart.Event{Coding: uart.Coding{Baud: 19200}})
	send("b")
	b.wants("settings 300 7E1 rtscts", "data a", "settings 9600 7E1 rtscts", "settings DTR off", "settings DTR on",
		"settings 19200 7E1 rtscts", "data b")

	for i := range 1000 {
		b.requests(1, 0x0300|uint16(i%4), 0)
	}
	b.requests(4, 0x4207, 0)
	send("c")
	b.requests(1, 0x0200, 0)
	n := 0
	var last uart.Event
	for {
		p, e := b.next()
		if p != "" {
			break
		}
		n, last = n+1, e
	}
	want := uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn, Break: uart.LevelOn}
	if n != 264 || last.Control != want {
		t.Errorf("got %d events, the last of them %v; want 264, the last with %v", n, last, want)
	}
	b.wants("settings RTS off")
}

// TestOpenedInALoop: opens and closes while Next is not called use bounded memory, and alternate.
func TestOpenedInALoop(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	const rounds = 500
	for range rounds {
		if err := b.driver.open(); err != nil {
			t.Fatal(err)
		}
		b.driver.closes()
	}
	open, n := false, 0
	for {
		_, e := b.next()
		switch e.Kind {
		case uart.KindOpened, uart.KindClosed:
			if open == (e.Kind == uart.KindOpened) {
				t.Fatalf("event %d: %v, but open is %v", n, e, open)
			}
			open = !open
		}
		n++
		if n >= 256 && e.Kind == uart.KindClosed {
			break
		}
		if n > 300 {
			t.Fatalf("%d events and no end", n)
		}
	}
	if got := b.announced(uart.KindClosed); got != rounds {
		t.Errorf("closes announced: got %d, want %d", got, rounds)
	}
}

// TestLargeTransfers: a transfer with room for several packets gets them, all but the last full.
func TestLargeTransfers(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	if _, status := b.host.Control(usbip.Setup{Type: 0x40}, nil); status != 0 {
		t.Fatal(status)
	}
	b.wants("opened")
	p := make([]byte, 1200)
	for i := range p {
		p[i] = byte(i % 251)
	}
	if _, err := b.chip.Write(p[:700]); err != nil {
		t.Fatal(err)
	}
	if err := b.chip.ReportLine(uart.LineParity); err != nil {
		t.Fatal(err)
	}
	if _, err := b.chip.Write(p[700:]); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, tt := range []struct{ room, want int }{
		{2048, 512 + 2 + 190}, {2048, 3}, {512, 2 + 499}, // cut before and after the byte with the error
	} {
		u := &usbiptest.URB{Endpoint: 1, In: true, Room: tt.room}
		b.host.Submit(u)
		u.Wait()
		if len(u.Data) != tt.want {
			t.Errorf("a transfer of %d bytes, want %d", len(u.Data), tt.want)
		}
		for d := u.Data; len(d) > 2; d = d[min(512, len(d)):] {
			got = append(got, d[2:min(512, len(d))]...)
		}
	}
	if !bytes.Equal(got, p) {
		t.Errorf("got %d bytes, which differ from the %d written", len(got), len(p))
	}
}

// TestUnlinkLosesNothing: a transfer that is unlinked while bytes arrive has carried none of them. The driver stays: it
// submits transfers, takes them back at a close, and opens again.
func TestUnlinkLosesNothing(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	for range 200 {
		b.opens()
		var all sync.WaitGroup
		all.Go(func() {
			for range 20 {
				_, _ = b.chip.Write(make([]byte, rand.IntN(2000)))
				_ = b.chip.SetModem(uart.ModemState(rand.IntN(16) << 4))
			}
		})
		all.Go(func() {
			for range rand.IntN(5) {
				_, _ = b.driver.read(make([]byte, 1000))
			}
			b.driver.closes()
		})
		b.wants("settings DTR off RTS off", "closed")
		all.Wait()
	}
	if err := b.host.Err(); err != nil {
		t.Errorf("the host: %v", err)
	}
}

// FuzzControl: every request on endpoint 0 is answered, and the chip keeps working.
func FuzzControl(f *testing.F) {
	f.Add(uint8(0x40), uint8(3), uint16(0x4138), uint16(0x0201), uint16(0))
	f.Add(uint8(0x40), uint8(0), uint16(0), uint16(0), uint16(0))
	f.Add(uint8(0xc0), uint8(5), uint16(0), uint16(1), uint16(2))
	f.Add(uint8(0x80), uint8(6), uint16(0x0303), uint16(0x409), uint16(255))
	f.Add(uint8(0x02), uint8(3), uint16(0), uint16(0x81), uint16(0))
	f.Fuzz(func(t *testing.T, kind, request uint8, value, index, length uint16) {
		b := plugIn(t, uart.PortConfig{})
		s := usbip.Setup{Type: kind, Request: request, Value: value, Index: index, Length: length}
		for range 2 {
			p, status := b.host.Control(s, nil)
			if status != 0 && status != usbiptest.StatusStall || len(p) > int(length) {
				t.Errorf("%v: status %d, %d bytes", s, status, len(p))
			}
		}
		if _, err := b.driver.modemStatus(); err != nil {
			t.Errorf("after %v: %v", s, err)
		}
	})
}
