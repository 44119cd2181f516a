package uarttest

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// testOpenClose: the first open and the last close come, and the close is announced by Urgent.
func testOpenClose(b *bench) {
	b.start()
	p := b.first()
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
	first := b.first()
	if b.exclusive() {
		if second, err := b.programs.Open(b.path); err == nil {
			_ = second.Close()
			b.Error("a second program could open the port")
		}
		b.delivers(first, []byte("unharmed"))
		b.lastClose(first)
		return
	}
	second := b.another()
	both := b.write(second, []byte("from the second"))
	b.none(b.data([]byte("from the second")))
	b.does("write", <-both)
	b.does("close", first.Close())
	still := b.write(second, []byte("still here"))
	b.none(b.data([]byte("still here")))
	b.does("write", <-still)
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
		p := b.first()
		up, down := noise(byte(i), 300), noise(byte(100+i), 300)
		done := b.write(p, up)
		b.none(b.data(up))
		b.does("write", <-done)
		b.delivers(p, down)
		b.lastClose(p)
	}
	if n := b.announced(uart.KindClosed); n != rounds {
		b.Errorf("announced closes: got %d, want %d", n, rounds)
	}
}

// testBytes: all values and much noise pass in both directions at once, unchanged.
func testBytes(b *bench) {
	b.start()
	p := b.first()
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
	b.none(b.data(up))
	b.does("write", <-written)
	b.does("read", <-read)
	if err := <-delivered; err != nil {
		b.Errorf("write: %v", err)
	}
	if !bytes.Equal(got, down) {
		b.Error("the program read other bytes than were written to the port")
	}
}

// testOrderWithAnswers: a program that waits for each result, as one that talks to a meter does, changes the settings
// between its requests. Any host can keep this order.
func testOrderWithAnswers(b *bench) {
	b.start()
	p := b.first()
	for i := range 20 {
		baud := uint32(1200 * (1 + i%2))
		b.does("change of settings", p.Set(uart.Event{Coding: uart.Coding{Baud: baud}}))
		if e := b.event(uart.KindSettings); e.Coding.Baud != baud {
			b.Fatalf("settings: got %v, want %d baud", e, baud)
		}
		done := b.write(p, []byte("/?!\r\n"))
		b.none(b.data([]byte("/?!\r\n")))
		b.does("write", <-done)
		b.delivers(p, []byte("/ABC5\r\n"))
	}
}

// testOrderBackToBack: a program that waits for nothing. All of its changes and bytes arrive; in exact order if the host
// claims that.
func testOrderBackToBack(b *bench) {
	b.start()
	p := b.first()
	const rounds = 50
	for i := range rounds {
		baud := uint32(1200 * (1 + i%2))
		b.does("write", <-b.write(p, []byte("A")))
		b.does("change of settings", p.Set(uart.Event{Coding: uart.Coding{Baud: baud}}))
		b.does("write", <-b.write(p, []byte("B")))
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

// testBytesBeforeClose: all that a program wrote before it closed comes before the close.
func testBytesBeforeClose(b *bench) {
	b.start()
	for i := range 20 {
		p := b.first()
		want := noise(byte(i), 1+i*150)
		b.does("write", <-b.write(p, want))
		closed := make(chan error, 1)
		go func() { closed <- p.Close() }()
		b.none(b.data(want))
		b.event(uart.KindClosed)
		b.does("close", <-closed)
	}
}

// mostWaiting is how many bytes of a program a host may take before Next has returned them: its own 64 KiB, and what the
// system buffers.
const mostWaiting = 256 << 10

// testBackPressureUp: while Next is not called a program's writes block, and nothing is lost.
func testBackPressureUp(b *bench) {
	b.start()
	p := b.first()
	want := noise('p', 2*mostWaiting)
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
	if n := settles(written.Load); n > mostWaiting {
		b.Errorf("a program wrote %d bytes while Next was not called, want %d at most", n, mostWaiting)
	}
	b.none(b.data(want))
	b.does("write", <-done)
}

// testBackPressureDown: Write blocks while the program does not read, and nothing is lost.
func testBackPressureDown(b *bench) {
	b.start()
	p := b.first()
	want := noise('q', 2*mostWaiting)
	done := b.write(b.port, want)
	select {
	case err := <-done:
		b.Fatalf("write of %d bytes that no program reads returned (%v)", len(want), err)
	case <-time.After(quiet):
	}
	got := make([]byte, len(want))
	_, err := io.ReadFull(p, got)
	b.does("read", err)
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
	b.does("read", err)
	if err := <-done; err != nil {
		b.Fatalf("write: %v", err)
	}
	if !bytes.Equal(got, down) {
		b.Fatalf("the program read %.40q, want %.40q", got, down)
	}
}

// none fails if there were events between bytes.
func (b *bench) none(events []uart.Event) {
	b.Helper()
	if len(events) > 0 {
		b.Errorf("next: got %v between the bytes, want no event", events)
	}
}
