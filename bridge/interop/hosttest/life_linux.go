package hosttest

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// checkKilled: when the agent is killed, the program sees its port hang up, no link remains that would lead to the next device
// of the same name, and the next agent can use the path.
func checkKilled(b *bench) {
	b.serve("--simulate", "loopback")
	agent := b.attach()
	device, err := filepath.EvalSymlinks(b.path)
	if err != nil {
		b.Fatal(err)
	}
	p := b.open()
	b.talks(p)
	read := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		read <- err
	}()
	b.started.killed = true
	agent.end(unix.SIGKILL)
	if err := <-read; err == nil {
		b.Error("the program's read got a byte")
	}
	b.eventually("the device is gone", func() bool {
		_, err := os.Stat(device)
		return err != nil
	})
	if _, err := p.Write([]byte("x")); err == nil {
		b.Error("the program's write succeeded")
	}
	b.eventually("the dead agent's link is gone", func() bool {
		_, err := os.Lstat(b.path)
		return errors.Is(err, os.ErrNotExist)
	})
	// The program still has the old device open, so the new one has another number.
	b.attach()
	b.talks(b.open())
}

// checkStopped: a program that is stopped inside calls on the port does not delay the agent's end. An agent that started the
// program is exempt: it waits for it, as a shell does.
func checkStopped(b *bench) {
	b.serve("--simulate", "loopback")
	agent := b.attach()
	p, second := b.open(), b.open()
	if b.started.within {
		b.talks(p)
		return
	}
	calls := make(chan error, 2)
	go func() {
		_, err := p.Write(make([]byte, 1<<20)) // nothing reads what comes back
		calls <- err
	}()
	if _, err := p.Read(make([]byte, 1)); err != nil { // now the write has begun
		b.Fatal(err)
	}
	go func() { calls <- second.drain() }()
	_, out := b.runs("", "/bin/sh", "-c", "echo $PPID")
	program, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.Kill(program, unix.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Kill(program, unix.SIGCONT) })
	began := time.Now()
	_ = agent.Process.Signal(unix.SIGTERM)
	select {
	case <-agent.done:
	case <-time.After(testenv.Patience):
		b.Fatal("the agent does not end while a program that has its port open is stopped")
	}
	b.Logf("the agent ended %v after SIGTERM", time.Since(began))
	_ = unix.Kill(program, unix.SIGCONT)
	for range cap(calls) {
		<-calls
	}
}

// lists prints the ports that python3-serial finds, a line each.
const lists = `
from serial.tools import list_ports
for p in list_ports.comports():
    print(p.device, p.product, p.serial_number)
`

// checkLists: python3-serial lists the port by the device's name, with our product name, and with the last element of the path
// as its serial number. A port that is not one of the kernel's serial ports is in no list.
func checkLists(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	device, err := filepath.EvalSymlinks(b.path)
	if err != nil {
		b.Fatal(err)
	}
	status, out := b.runs(lists, "/usr/bin/python3", "-")
	want := device + " telnetcpc serial port " + filepath.Base(b.path) + "\n"
	if status != 0 || strings.Contains("\n"+out, "\n"+want) != b.host.Listed {
		b.Errorf("pyserial lists %q, want %q in it: %v", out, want, b.host.Listed)
	}
}

// checkOpenWait: an open waits for a session that comes late; if that is not carried, it does not wait.
func checkOpenWait(b *bench) {
	b.serve("--simulate", "loopback")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	release := make(chan struct{})
	called := make(chan struct{})
	go func() { // a relay that passes nothing until it is released
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		close(called)
		<-release
		server, err := net.Dial("tcp", b.server)
		if err != nil {
			return
		}
		defer server.Close()
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		_, _ = io.Copy(client, server)
	}()
	b.attachTo(l.Addr().String(), "--open-wait", testenv.Patience.String())
	opened := make(chan *program, 1)
	failed := make(chan error, 1)
	go func() {
		if p, err := b.tryOpen(); err != nil {
			failed <- err
		} else {
			opened <- p
		}
	}()
	<-called
	if b.carries(uart.CarriesOpenWait) {
		select {
		case <-opened:
			b.Error("the open has not waited for the session")
			opened <- nil
		case <-time.After(300 * time.Millisecond): // an open that does not wait would have returned
		}
		close(release)
	} else {
		defer close(release)
	}
	select {
	case err := <-failed:
		b.Fatal(err)
	case p := <-opened:
		if b.carries(uart.CarriesOpenWait) && !b.Failed() {
			b.talks(p)
		}
	case <-time.After(testenv.Patience):
		b.Fatal("the open does not return")
	}
}
