package uarttest

import (
	"errors"
	"sync"

	"telnetcpc/bridge/uart"
)

// testWriteUnopened: a Write to a port that no program has open drops everything and does not block.
func testWriteUnopened(b *bench) {
	b.start()
	p := noise('n', 100_000)
	if n, err := b.port.Write(p); n != 0 || err != nil {
		b.Errorf("write before the first open: got %d, %v, want 0", n, err)
	}
	b.lastClose(b.openFirst())
	if n, err := b.port.Write(p); n != 0 || err != nil {
		b.Errorf("write after the last close: got %d, %v, want 0", n, err)
	}
}

// testNothingStale: what one program has not read is not delivered to the next one.
func testNothingStale(b *bench) {
	b.start()
	p := b.openFirst()
	if _, err := b.port.Write([]byte("stale")); err != nil {
		b.Fatal(err)
	}
	b.lastClose(p)
	if _, err := b.port.Write([]byte("to nobody")); err != nil {
		b.Fatal(err)
	}
	b.delivers(b.openFirst(), []byte("fresh"))
}

// testWriteEndsWithProgram: a Write that blocks returns at the last close, with the number of bytes delivered until then.
func testWriteEndsWithProgram(b *bench) {
	b.start()
	p := b.openFirst()
	data := noise('w', 2*maxQueued)
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := b.port.Write(data)
		done <- result{n, err}
	}()
	one := make([]byte, 1)
	_, err := p.Read(one) // now Write has begun
	b.must("read", err)
	b.lastClose(p)
	if r := <-done; r.err != nil || r.n < 1 || r.n >= len(data) {
		b.Errorf("write when its program closed the port: got %d of %d, %v", r.n, len(data), r.err)
	}
}

// testCloseEndsNext: Close ends a Next that blocks while a program has the port open. On hosts that carry control
// lines, Next returns the events of its open first.
func testCloseEndsNext(b *bench) {
	b.start()
	b.openFirst()
	done := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, _, err = b.port.Next()
		}
		done <- err
	}()
	b.closePort()
	if err := <-done; !errors.Is(err, uart.ErrClosed) {
		b.Errorf("next when the port is closed: got %v, want ErrClosed", err)
	}
}

// testCloseEndsWrite: Close ends a Write that blocks because the program does not read.
func testCloseEndsWrite(b *bench) {
	b.start()
	p := b.openFirst()
	done := b.write(b.port, noise('w', 2*maxQueued))
	_, err := p.Read(make([]byte, 1))
	b.must("read", err)
	b.closePort()
	if err := <-done; !errors.Is(err, uart.ErrClosed) {
		b.Errorf("write when the port is closed: got %v, want ErrClosed", err)
	}
}

// testCloseFailsCalls: after Close the program's calls fail, and do not hang. If programs outlive the port, the modem
// lines that they see are off.
func testCloseFailsCalls(b *bench) {
	b.start()
	p := b.openFirst()
	if b.lasting() {
		if !b.host.Fidelity().Carries(uart.CarriesModem) {
			return
		}
		if err := b.port.SetModem(uart.CTS | uart.DSR | uart.DCD); err != nil {
			b.Errorf("set modem: %v", err)
		}
		b.modem(p, uart.CTS|uart.DSR|uart.DCD)
		b.closePort()
		b.modem(p, 0)
		return
	}
	read := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		read <- err
	}()
	b.closePort()
	if <-read == nil {
		b.Error("the program's read on a closed port returned a byte")
	}
	if _, err := p.Write([]byte("x")); err == nil {
		b.Error("the program's write on a closed port succeeded")
	}
}

// testClosed: Close is idempotent, removes the path, and ends every call.
func testClosed(b *bench) {
	b.start()
	if gone(b.path) && !b.virtual() {
		b.Error("an open port has no path")
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(b.closePort)
	}
	all.Wait()
	if !gone(b.path) && !b.virtual() {
		b.Error("the path of a closed port is still there")
	}
	if p, err := b.programs.Open(b.path); (err == nil) != b.lasting() {
		b.Errorf("open of a closed port: got %v", err)
	} else if err == nil {
		b.must("close", p.Close())
	}
	if _, _, err := b.port.Next(); !errors.Is(err, uart.ErrClosed) {
		b.Errorf("next on a closed port: got %v, want ErrClosed", err)
	}
	if _, err := b.port.Write([]byte("x")); !errors.Is(err, uart.ErrClosed) {
		b.Errorf("write on a closed port: got %v, want ErrClosed", err)
	}
	b.closePort()
}

// testRetire: no further program can open the port; the ones that have it open keep it.
func testRetire(b *bench) {
	b.start()
	p := b.openFirst()
	for range 2 {
		switch err := b.port.Retire(); {
		case b.lasting():
			b.notCarried("retire", err)
		case err != nil:
			b.Errorf("retire: %v", err)
		}
	}
	if !gone(b.path) && !b.virtual() {
		b.Error("the path of a retired port is still there")
	}
	if !b.lasting() {
		if _, err := b.programs.Open(b.path); err == nil {
			b.Error("a retired port could be opened")
		}
	}
	done := b.write(p, []byte("still up"))
	b.noEvents(b.data([]byte("still up")))
	b.must("write", <-done)
	b.delivers(p, []byte("still down"))
	b.lastClose(p)
}

// testSamePath: a path has one port at a time.
func testSamePath(b *bench) {
	b.start()
	if second, err := b.open(); err == nil {
		_ = second.Close()
		b.Error("a second port at the path of the first was made")
	}
	p := b.openFirst() // the refusal has not harmed the first port
	b.delivers(p, []byte("unharmed"))
	b.must("close", p.Close())
	b.closePort()
	third, err := b.open()
	if err != nil {
		b.Fatalf("a port at the path of a closed one: %v", err)
	}
	b.port = third
	b.must("close", b.openFirst().Close())
	if err := third.Close(); err != nil {
		b.Errorf("close: %v", err)
	}
}

// closePort closes the port.
func (b *bench) closePort() {
	if err := b.port.Close(); err != nil {
		b.Errorf("close: %v", err)
	}
}

// virtual, exclusive and lasting return those methods of Programs, or false if it does not have them.
func (b *bench) virtual() bool {
	v, ok := b.programs.(interface{ Virtual() bool })
	return ok && v.Virtual()
}

func (b *bench) exclusive() bool {
	v, ok := b.programs.(interface{ Exclusive() bool })
	return ok && v.Exclusive()
}

func (b *bench) lasting() bool {
	v, ok := b.programs.(interface{ Lasting() bool })
	return ok && v.Lasting()
}
