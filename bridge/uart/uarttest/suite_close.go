package uarttest

import (
	"time"

	"telnetcpc/bridge/testenv"
)

// testCloseUnderCalls: a port can be closed whatever its programs are doing: a write that Next does not return, a read,
// a drain while the far UART is sending. All of their calls then return, unless the programs outlive the port.
func testCloseUnderCalls(b *bench) {
	b.start()
	p := b.openFirst()
	b.busy.Store(true)
	calls := []<-chan error{b.write(p, noise('c', 2*maxQueued)), drain(p)}
	read := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		read <- err
	}()
	calls = append(calls, read)
	b.next() // the write has begun
	b.closesInTime()
	if b.lasting() {
		b.must("close", p.Close())
	}
	for _, call := range calls {
		<-call
	}
}

// testCloseUnderClose: a port can be closed while its last program's close waits for the far UART, as a driver's close
// does.
func testCloseUnderClose(b *bench) {
	b.start()
	p := b.openFirst()
	b.busy.Store(true)
	b.must("write", <-b.write(p, noise('d', 1000)))
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	select {
	case <-closed: // the host's closes do not wait
		closed <- nil
	case <-time.After(quiet):
	}
	b.closesInTime()
	<-closed
}

// closesInTime closes the port and fails if Close blocks.
func (b *bench) closesInTime() {
	b.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.closePort()
	}()
	select {
	case <-done:
	case <-time.After(testenv.Patience):
		b.Fatalf("the port's close has not returned in %v", testenv.Patience)
	}
}
