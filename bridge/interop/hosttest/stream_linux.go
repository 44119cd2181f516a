package hosttest

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// noise returns n bytes of all values, without a short period.
func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * i >> 7)
	}
	return p
}

// checkBulk: a megabyte passes in both directions at once, unchanged.
func checkBulk(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.set(p, uart.Event{Coding: uart.Coding{Baud: 12_000_000}})
	b.talks(p)
	want := noise(1 << 20)
	written := make(chan error, 1)
	go func() {
		_, err := p.Write(want)
		written <- err
	}()
	b.expectBytes(p, want)
	if err := <-written; err != nil {
		b.Error(err)
	}
}

// checkNeverReads: while a program does not read, flow control stops the server; later nothing is missing.
func checkNeverReads(b *bench) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	want := noise(3 << 20)
	var sent atomic.Int64
	ended := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10) // by default it may grow to more than we send
		for len(want) > int(sent.Load()) && err == nil {
			var n int
			n, err = c.Write(want[sent.Load():min(int(sent.Load())+4096, len(want))])
			sent.Add(int64(n))
		}
		ended <- err
		_, _ = io.Copy(io.Discard, c) // until the agent hangs up
	}()
	b.attachTo("tcp://" + l.Addr().String())
	p := b.open()
	b.eventually("the server is stopped", func() bool {
		before := sent.Load()
		time.Sleep(time.Second)
		return before > 0 && sent.Load() == before
	})
	b.Logf("stopped after %d of %d bytes", sent.Load(), len(want))
	select {
	case <-ended:
		b.Error("a program that does not read has not stopped the server")
	default:
	}
	b.expectBytes(p, want)
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// checkCanonical: the kernel's line discipline works as on any tty: a read returns a line.
func checkCanonical(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	if err := p.change(func(tio *unix.Termios) { tio.Lflag |= unix.ICANON }); err != nil {
		b.Fatal(err)
	}
	b.writes(p, "one\ntwo\n")
	buf := make([]byte, 100)
	for _, want := range []string{"one\n", "two\n"} {
		if n, err := p.Read(buf); err != nil || string(buf[:n]) != want {
			b.Errorf("read %q, %v, want %q", buf[:n], err, want)
		}
	}
}

// checkHangup: with --on-loss hangup a lost session hangs up the port: a program that reads sees it, and the port comes back
// at the same path.
func checkHangup(b *bench) {
	first := b.serve("--simulate", "loopback")
	b.attach("--on-loss", "hangup")
	p := b.open()
	b.talks(p)
	read := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		read <- err
	}()
	first.end(unix.SIGKILL)
	if err := <-read; err == nil {
		b.Error("the program's read got a byte")
	}
	_ = p.Close()
	b.serve("--simulate", "loopback")
	b.eventually("the port is back", func() bool {
		p, err := os.Stat(b.path)
		return err == nil && p.Mode()&os.ModeCharDevice != 0
	})
	b.talks(b.open())
}
