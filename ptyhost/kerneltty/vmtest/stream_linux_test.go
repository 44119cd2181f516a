package vmtest

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// noise is n bytes of all values, without a short period.
func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * i >> 7)
	}
	return p
}

// checkBulk: a megabyte passes in both ways at once, unchanged.
func checkBulk(t *testing.T) {
	serve(t, "--simulate", "loopback")
	attach(t)
	program := open(t)
	set(t, program, uart.Event{Coding: uart.Coding{Baud: 12_000_000}})
	talks(t, program)
	want := noise(1 << 20)
	written := make(chan error, 1)
	go func() {
		_, err := program.Write(want)
		written <- err
	}()
	expectBytes(t, program, want)
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// expectBytes reads a lot that must come.
func expectBytes(t *testing.T, p *uarttest.TTYProgram, want []byte) {
	t.Helper()
	over := time.AfterFunc(patience, func() { _ = p.Close() })
	defer over.Stop()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(want), err)
	}
	if string(got) != string(want) {
		t.Error("other bytes came than were sent")
	}
}

// checkNeverReads: while a program does not read, the server is held back; then nothing is missing.
func checkNeverReads(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
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
		_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10) // by itself it grows to more than we send
		for len(want) > int(sent.Load()) && err == nil {
			var n int
			n, err = c.Write(want[sent.Load():min(int(sent.Load())+4096, len(want))])
			sent.Add(int64(n))
		}
		ended <- err
		_, _ = io.Copy(io.Discard, c) // until the agent hangs up
	}()
	attachTo(t, "tcp://"+l.Addr().String())
	program := open(t)
	eventually(t, "the server is held back", func() bool {
		before := sent.Load()
		time.Sleep(time.Second)
		return before > 0 && sent.Load() == before
	})
	t.Logf("held back after %d of %d bytes", sent.Load(), len(want))
	select {
	case <-ended:
		t.Error("a program that does not read has held nobody back")
	default:
	}
	expectBytes(t, program, want)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// checkAlternations: a hundred lines with a change of the line coding after each (TCSADRAIN), in one breath: each has left
// the far UART with the coding that was in force when it was written.
func checkAlternations(t *testing.T) {
	serve(t, "--simulate", "reporter")
	attach(t)
	program := open(t)
	const rounds = 100
	baud := func(i int) uint32 { return 19200 << (i % 2) }
	set(t, program, uart.Event{Coding: uart.Coding{Baud: baud(0)}})
	var want strings.Builder
	for i := range rounds {
		line := fmt.Sprintf("line %d", i)
		fmt.Fprintf(&want, "%s %d 8N1\n", line, baud(i))
		if _, err := io.WriteString(program, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if err := program.Control(func(fd int) error {
			tio, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
			if err != nil {
				return err
			}
			tio.Cflag = tio.Cflag&^unix.CBAUD | unix.BOTHER
			tio.Ispeed, tio.Ospeed = baud(i+1), baud(i+1)
			return unix.IoctlSetTermios(fd, unix.TCSETSW2, tio)
		}); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, program, want.String())
}

// checkCanonical: the kernel's line discipline is there, as on any tty: a read returns a line.
func checkCanonical(t *testing.T) {
	serve(t, "--simulate", "loopback")
	attach(t)
	program := open(t)
	if err := program.Termios(func(tio *unix.Termios) { tio.Lflag |= unix.ICANON }); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(program, "one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	for _, want := range []string{"one\n", "two\n"} {
		if n, err := program.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("read %q, %v, want %q", b[:n], err, want)
		}
	}
}

// checkHangup: under on_loss hangup a lost session is a pulled plug: a program that reads sees it, and the port comes back
// under the same path.
func checkHangup(t *testing.T) {
	first := serve(t, "--simulate", "loopback")
	attach(t, "--on-loss", "hangup")
	program := open(t)
	talks(t, program)
	read := make(chan error, 1)
	go func() {
		_, err := program.Read(make([]byte, 1))
		read <- err
	}()
	first.end(unix.SIGKILL)
	if err := <-read; err == nil {
		t.Error("the program's read got a byte")
	}
	_ = program.Close()
	serve(t, "--simulate", "loopback")
	eventually(t, "the port is back", func() bool {
		p, err := os.Stat(port)
		return err == nil && p.Mode()&os.ModeCharDevice != 0
	})
	talks(t, open(t))
}
