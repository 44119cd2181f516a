package uarttest

import (
	"errors"

	"telnetcpc/bridge/uart"
)

// testDrain: a drain waits while Unsent reports that the far UART is not empty, if the host claims that; else it waits for
// nothing.
func testDrain(b *bench) {
	b.start()
	p := b.first()
	b.busy.Store(true)
	b.does("write", <-b.write(p, []byte("x")))
	b.none(b.data([]byte("x")))
	// The bytes that Next lent come back with the following Next.
	following := make(chan error, 1)
	go func() {
		_, _, err := b.port.Next()
		following <- err
	}()
	done := drain(p)
	if b.host.Fidelity().Carries(uart.CarriesDrain) {
		b.waits(done, "while the far UART is not empty")
		b.busy.Store(false)
	}
	b.does("drain", <-done)
	b.closes()
	if err := <-following; !errors.Is(err, uart.ErrClosed) {
		b.Errorf("next after the drain: got %v, want nothing but the close", err)
	}
}

// testDrainWithoutSession: when Unsent reports that no byte is waited for, a drain ends although bytes are queued: one that
// already waits for queued bytes, one for lent bytes, and one that begins then. The bytes stay.
func testDrainWithoutSession(b *bench) {
	b.start()
	p := b.first()
	b.does("write", <-b.write(p, []byte("taken")))
	b.none(b.data([]byte("taken"))) // without a following Next they stay lent
	done := drain(p)
	b.waits(done, "while bytes are lent")
	b.away.Store(true)
	b.does("drain", <-done)

	b.away.Store(false)
	b.does("write", <-b.write(p, []byte("not taken")))
	done = drain(p)
	b.waits(done, "while bytes wait")
	b.away.Store(true)
	b.does("drain", <-done)
	b.does("drain", p.Drain())

	b.away.Store(false)
	b.none(b.data([]byte("not taken")))
}

// testCloseWithoutSession: a close does not wait either. The bytes stay, and come before the close.
func testCloseWithoutSession(b *bench) {
	b.start()
	p := b.first()
	b.does("write", <-b.write(p, []byte("left behind")))
	b.away.Store(true)
	b.does("close", p.Close())
	b.none(b.data([]byte("left behind")))
	b.event(uart.KindClosed)
}

// drain starts a program's drain in a goroutine that ends with the port.
func drain(p Program) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.Drain() }()
	return done
}

// waits fails if a drain has returned by the time the host has called Unsent three more times.
func (b *bench) waits(done <-chan error, why string) {
	b.Helper()
	before := b.asks.Load()
	b.eventually("the host calls Unsent "+why, func() bool { return b.asks.Load() >= before+3 })
	select {
	case err := <-done:
		b.Fatalf("the drain returned (%v) %s", err, why)
	default:
	}
}
