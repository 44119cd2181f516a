package uarttest

import (
	"errors"

	"telnetcpc/bridge/uart"
)

// testDrain: a drain waits while Unsent reports that the far UART is not empty, if the host claims to carry drains;
// else it returns at once.
func testDrain(b *bench) {
	b.start()
	p := b.openFirst()
	b.busy.Store(true)
	b.must("write", <-b.write(p, []byte("x")))
	b.noEvents(b.data([]byte("x")))
	// The following Next returns the lent bytes.
	following := make(chan error, 1)
	go func() {
		_, _, err := b.port.Next()
		following <- err
	}()
	done := drain(p)
	if b.host.Fidelity().Carries(uart.CarriesDrain) {
		b.stillDraining(done, "while the far UART is not empty")
		b.busy.Store(false)
	}
	b.must("drain", <-done)
	b.closePort()
	if err := <-following; !errors.Is(err, uart.ErrClosed) {
		b.Errorf("next after the drain: got %v, want nothing but the close", err)
	}
}

// testDrainWithoutSession: when Unsent reports that nothing should wait (Left < 0), a drain ends although bytes are
// queued: one that already waits for queued bytes, one that waits for lent bytes, and one that begins then. The bytes
// stay queued.
func testDrainWithoutSession(b *bench) {
	b.start()
	p := b.openFirst()
	b.must("write", <-b.write(p, []byte("taken")))
	b.noEvents(b.data([]byte("taken"))) // without a following Next they stay lent
	done := drain(p)
	b.stillDraining(done, "while bytes are lent")
	b.away.Store(true)
	b.must("drain", <-done)

	b.away.Store(false)
	b.must("write", <-b.write(p, []byte("not taken")))
	done = drain(p)
	b.stillDraining(done, "while bytes wait")
	b.away.Store(true)
	b.must("drain", <-done)
	b.must("drain", p.Drain())

	b.away.Store(false)
	b.noEvents(b.data([]byte("not taken")))
}

// testCloseWithoutSession: a close does not wait either. The bytes stay queued, and Next returns them before the close.
func testCloseWithoutSession(b *bench) {
	b.start()
	p := b.openFirst()
	b.must("write", <-b.write(p, []byte("left behind")))
	b.away.Store(true)
	b.must("close", p.Close())
	b.noEvents(b.data([]byte("left behind")))
	b.event(uart.KindClosed)
}

// drain starts a program's drain in a goroutine that ends with the port.
func drain(p Program) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.Drain() }()
	return done
}

// stillDraining fails the test if a drain has returned by the time the host has called Unsent three more times.
func (b *bench) stillDraining(done <-chan error, why string) {
	b.Helper()
	before := b.unsentCalls.Load()
	b.eventually("the host calls Unsent "+why, func() bool { return b.unsentCalls.Load() >= before+3 })
	select {
	case err := <-done:
		b.Fatalf("the drain returned (%v) %s", err, why)
	default:
	}
}
