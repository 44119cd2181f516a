package uarttest

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// testOpenClose: Next returns the first open and the last close, and Urgent announces the close.
func testOpenClose(b *bench) {
	b.start()
	p := b.openFirst()
	if n := b.announced(uart.KindClosed); n != 0 {
		b.Errorf("announced closes before the close: got %d, want 0", n)
	}
	b.lastClose(p)
	if n := b.announced(uart.KindClosed); n != 1 {
		b.Errorf("announced closes: got %d, want 1", n)
	}
}

// testTwoPrograms: only the first open and the last close count. If only one program at a time can have the port open, the
// second is refused, and the first is not affected.
func testTwoPrograms(b *bench) {
	b.start()
	first := b.openFirst()
	if b.exclusive() {
		if second, err := b.programs.Open(b.path); err == nil {
			_ = second.Close()
			b.Error("a second program could open the port")
		}
		b.delivers(first, []byte("unharmed"))
		b.lastClose(first)
		return
	}
	second := b.openAnother()
	both := b.write(second, []byte("from the second"))
	b.noEvents(b.data([]byte("from the second")))
	b.must("write", <-both)
	b.must("close", first.Close())
	still := b.write(second, []byte("still here"))
	b.noEvents(b.data([]byte("still here")))
	b.must("write", <-still)
	if n := b.announced(uart.KindClosed); n != 0 {
		b.Errorf("announced closes while a program has the port open: got %d, want 0", n)
	}
	b.lastClose(second)
}

// testReopened: a port is opened and closed many times, each time with bytes in both directions.
func testReopened(b *bench) {
	b.start()
	const rounds = 20
	for i := range rounds {
		p := b.openFirst()
		up, down := noise(byte(i), 300), noise(byte(100+i), 300)
		done := b.write(p, up)
		b.noEvents(b.data(up))
		b.must("write", <-done)
		b.delivers(p, down)
		b.lastClose(p)
	}
	if n := b.announced(uart.KindClosed); n != rounds {
		b.Errorf("announced closes: got %d, want %d", n, rounds)
	}
}

// testBytes: all byte values and 300,000 random bytes pass in both directions at once, unchanged.
func testBytes(b *bench) {
	b.start()
	p := b.openFirst()
	up := append(everyByte(), noise('u', 300_000)...)
	down := append(everyByte(), noise('d', 300_000)...)
	written := b.write(p, up)
	read := make(chan error, 1)
	got := make([]byte, len(down))
	go func() {
		_, err := io.ReadFull(p, got)
		read <- err
	}()
	delivered := b.write(b.port, down)
	b.noEvents(b.data(up))
	b.must("write", <-written)
	b.must("read", <-read)
	if err := <-delivered; err != nil {
		b.Errorf("write: %v", err)
	}
	if !bytes.Equal(got, down) {
		b.Error("the program read other bytes than were written to the port")
	}
}

// testOrderWithAnswers: a program that waits for each reply, like one that reads a meter, changes the settings between
// its requests. Every host must keep this order.
func testOrderWithAnswers(b *bench) {
	b.start()
	p := b.openFirst()
	for i := range 20 {
		baud := uint32(1200 * (1 + i%2))
		b.must("change of settings", p.Set(uart.Event{Coding: uart.Coding{Baud: baud}}))
		if e := b.event(uart.KindSettings); e.Coding.Baud != baud {
			b.Fatalf("settings: got %v, want %d baud", e, baud)
		}
		done := b.write(p, []byte("/?!\r\n"))
		b.noEvents(b.data([]byte("/?!\r\n")))
		b.must("write", <-done)
		b.delivers(p, []byte("/ABC5\r\n"))
	}
}

// testOrderBackToBack: a program writes and changes settings without waiting. Next returns all of it; in exact order if
// the host claims CarriesOrder.
func testOrderBackToBack(b *bench) {
	b.start()
	p := b.openFirst()
	const rounds = 50
	for i := range rounds {
		baud := uint32(1200 * (1 + i%2))
		b.must("write", <-b.write(p, []byte("A")))
		b.must("change of settings", p.Set(uart.Event{Coding: uart.Coding{Baud: baud}}))
		b.must("write", <-b.write(p, []byte("B")))
		var got []byte
		last := uint32(0)
		order := ""
		for len(got) < 2 || last != baud {
			a := b.next()
			if a.event.Kind == uart.KindSettings {
				last = a.event.Coding.Baud
				order += "c"
			}
			got, order = append(got, a.data...), order+string(a.data)
		}
		if string(got) != "AB" {
			b.Fatalf("round %d: got bytes %q, want AB", i, got)
		}
		if b.host.Fidelity().Carries(uart.CarriesOrder) && order != "AcB" {
			b.Fatalf("round %d: got order %s, want AcB: the host claims exact order", i, order)
		}
	}
}

// testBytesBeforeClose: Next returns all that a program wrote before it returns the close.
func testBytesBeforeClose(b *bench) {
	b.start()
	for i := range 20 {
		p := b.openFirst()
		want := noise(byte(i), 1+i*150)
		b.must("write", <-b.write(p, want))
		closed := make(chan error, 1)
		go func() { closed <- p.Close() }()
		b.noEvents(b.data(want))
		b.event(uart.KindClosed)
		b.must("close", <-closed)
	}
}

// maxQueued is how many bytes of a program a host may accept before Next has returned them: its own 64 KiB, and what
// the system buffers.
const maxQueued = 256 << 10

// testBackPressureUp: while Next is not called a program's writes block, and nothing is lost.
func testBackPressureUp(b *bench) {
	b.start()
	p := b.openFirst()
	want := noise('p', 2*maxQueued)
	var written atomic.Int64
	done := make(chan error, 1)
	go func() {
		for i := 0; i < len(want); i += 1024 {
			if _, err := p.Write(want[i : i+1024]); err != nil {
				done <- err
				return
			}
			written.Add(1024)
		}
		done <- nil
	}()
	if n := settles(written.Load); n > maxQueued {
		b.Errorf("a program wrote %d bytes while Next was not called, want %d at most", n, maxQueued)
	}
	b.noEvents(b.data(want))
	b.must("write", <-done)
}

// testBackPressureDown: Write blocks while the program does not read, and nothing is lost.
func testBackPressureDown(b *bench) {
	b.start()
	p := b.openFirst()
	want := noise('q', 2*maxQueued)
	done := b.write(b.port, want)
	select {
	case err := <-done:
		b.Fatalf("write of %d bytes that no program reads returned (%v)", len(want), err)
	case <-time.After(quiet):
	}
	got := make([]byte, len(want))
	_, err := io.ReadFull(p, got)
	b.must("read", err)
	if err := <-done; err != nil {
		b.Errorf("write: %v", err)
	}
	if !bytes.Equal(got, want) {
		b.Error("the program read other bytes than were written to the port")
	}
}

// delivers writes bytes to the port, and checks that the program reads them.
func (b *bench) delivers(p Program, down []byte) {
	b.Helper()
	done := b.write(b.port, down)
	got := make([]byte, len(down))
	_, err := io.ReadFull(p, got)
	b.must("read", err)
	if err := <-done; err != nil {
		b.Fatalf("write: %v", err)
	}
	if !bytes.Equal(got, down) {
		b.Fatalf("the program read %.40q, want %.40q", got, down)
	}
}

// noEvents fails the test if there were events between bytes.
func (b *bench) noEvents(events []uart.Event) {
	b.Helper()
	if len(events) > 0 {
		b.Errorf("next: got %v between the bytes, want no event", events)
	}
}
