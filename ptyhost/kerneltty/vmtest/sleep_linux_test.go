package vmtest

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/kerneltty"
	"telnetcpc/ptyhost/logind/logindtest"
)

// sleep has the kernel put all devices to sleep and wake them at once, by its own test mode.
func sleep(t *testing.T) error {
	t.Helper()
	for name, text := range map[string]string{
		"/sys/power/pm_test":                           "devices",
		"/sys/module/suspend/parameters/pm_test_delay": "0",
	} {
		if err := os.WriteFile(name, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	return os.WriteFile("/sys/power/state", []byte("freeze"), 0)
}

// checkSleep: the machine refuses to sleep while a kernel tty is attached. When logind announces the sleep, the port
// is unplugged before the lock is released, and the machine sleeps; after it has woken, the port exists again.
func checkSleep(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)
	const path = "/dev/ttyV0"
	p, err := kerneltty.New().Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var echoes errgroup.Group
	echoes.Go(func() error { return echo(p) })
	device := p.Name()
	program := echoed(t, path, "before")
	eventually := func(what string, ok func() bool) {
		t.Helper()
		logindtest.Eventually(t, what, testenv.Patience, ok)
	}
	eventually("the lock is taken", func() bool { return m.Taken() == 1 })
	if err := sleep(t); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("sleep with a port: got %v, want EBUSY", err)
	}
	for i := 1; i <= 2; i++ { // a program that still has the old device open makes no difference
		read := make(chan error, 1)
		go func(program io.Reader) {
			_, err := program.Read(make([]byte, 1))
			read <- err
		}(program)
		m.Prepare(true)
		if err := <-read; err == nil {
			t.Error("the program's read got a byte")
		}
		eventually("the lock is released", func() bool { return m.Held() == 0 })
		if _, err := os.Stat(device); err == nil {
			t.Errorf("%s is still there when the lock is released", device)
		}
		if err := sleep(t); err != nil {
			t.Fatalf("sleep without a port: %v", err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is there while the machine sleeps", path)
		}
		m.Prepare(false)
		eventually("the port is back", func() bool {
			_, err := os.Stat(path)
			return err == nil
		})
		device = p.Name()
		program = echoed(t, path, "after")
		if got := m.Taken(); got != 1+i {
			t.Errorf("the lock was taken %d times, want %d", got, 1+i)
		}
	}
	if err := sleep(t); !errors.Is(err, unix.EBUSY) {
		t.Errorf("sleep with the port again: got %v, want EBUSY", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := echoes.Wait(); !errors.Is(err, uart.ErrClosed) {
		t.Errorf("the port ended with %v, want ErrClosed", err)
	}
	eventually("the lock is released", func() bool { return m.Held() == 0 })
}

// echoed opens the port until the check ends, and sends a text there and back.
func echoed(t *testing.T, path, text string) *uarttest.TTYProgram {
	t.Helper()
	program, err := uarttest.OpenTTY(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	if _, err := io.WriteString(program, text); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len(text))
	if _, err := io.ReadFull(program, back); err != nil || string(back) != text {
		t.Fatalf("got back %q, %v, want %q", back, err, text)
	}
	return program
}
