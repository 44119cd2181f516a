package ftdi_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// announced returns how often Urgent was called with this kind of event.
func (b *bed) announced(kind uart.Kind) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.urgent {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// TestOpenWait: an application's open waits for the session, for OpenWait at most. A failed dial ends the wait too: the driver
// opens the port nevertheless.
func TestOpenWait(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wait  time.Duration
		ready time.Duration // when Ready is called; 0: never
		err   error
		want  time.Duration
	}{
		{"session at once", 2 * time.Second, time.Millisecond, nil, time.Millisecond},
		{"session later", 2 * time.Second, time.Second, nil, time.Second},
		{"no session possible", 2 * time.Second, time.Second, errors.New("refused"), time.Second},
		{"too late", 2 * time.Second, 3 * time.Second, nil, 2 * time.Second},
		{"never", 2 * time.Second, 0, nil, 2 * time.Second},
		{"no wait", 0, time.Second, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := plugIn(t, uart.PortConfig{OpenWait: tt.wait})
				begin := time.Now()
				took := make(chan time.Duration, 1)
				go func() {
					_ = b.driver.open()
					took <- time.Since(begin)
				}()
				_, e := b.next()
				if e.Kind != uart.KindOpened || e.Ready == nil {
					t.Fatalf("got %v, want an open with Ready", e)
				}
				if tt.ready > 0 {
					time.AfterFunc(tt.ready, func() { e.Ready(tt.err) })
				}
				if got := <-took; got != tt.want {
					t.Errorf("the open took %v, want %v", got, tt.want)
				}
				time.Sleep(5 * time.Second)
				e.Ready(nil) // a second call, much too late
				b.wants("settings DTR on RTS on")
			})
		})
	}
}

// TestOpenGivenUp: a driver whose request has waited too long continues without its answer.
func TestOpenGivenUp(t *testing.T) {
	b := plugIn(t, uart.PortConfig{OpenWait: time.Hour})
	reset := &usbiptest.URB{}
	reset.Setup.Type = 0x40
	b.host.Submit(reset)
	_, e := b.next()
	b.host.Unlink(reset)
	reset.Wait()
	e.Ready(nil)
	if reset.Status != usbiptest.StatusUnlinked {
		t.Errorf("status %d", reset.Status)
	}
	b.driver.request(1, 0x0101, 0)
	b.wants("settings DTR on")
}

// closesNow closes the port and takes its events.
func (b *bed) closesNow(events ...string) {
	b.Helper()
	before := b.announced(uart.KindClosed)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.driver.closes()
	}()
	b.wants(events...)
	<-done
	if n := b.announced(uart.KindClosed) - before; n != 1 {
		b.Errorf("closes announced: got %d, want 1", n)
	}
}

// TestHUPCL: a close drops the lines or does not, and is a close in both cases.
func TestHUPCL(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	for range 3 {
		b.opens()
		b.closesNow("settings DTR off RTS off", "closed")
		b.driver.hupcl = false
		b.opens()
		b.closesNow("closed")
		b.driver.hupcl = true
	}
}

// resting makes the driver submit no IN transfers, because the application does not read. written receives the length
// of the write that this blocks, -1 if it fails.
func (b *bed) resting() (written <-chan int) {
	b.Helper()
	n := make(chan int, 1)
	go func() {
		m, err := b.chip.Write(make([]byte, 100_000))
		if err != nil {
			m = -1
		}
		n <- m
	}()
	d := b.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.resting < driverTransfers {
		d.changed.Wait()
	}
	return n
}

// TestCloseWhileResting: a close without an IN transfer to take back is shown by the lines with HUPCL, else by the next open.
func TestCloseWhileResting(t *testing.T) {
	t.Run("HUPCL", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := plugIn(t, uart.PortConfig{})
			b.opens()
			written := b.resting()
			b.closesNow("settings DTR off RTS off", "closed")
			if n := <-written; n < 1 || n >= 100_000 {
				t.Errorf("the write that blocked: got %d", n)
			}
		})
	})
	t.Run("no HUPCL", func(t *testing.T) {
		b := plugIn(t, uart.PortConfig{})
		b.opens()
		written := b.resting()
		b.driver.hupcl = false
		b.driver.closes()
		opened := make(chan error, 1)
		go func() { opened <- b.driver.open() }()
		b.wants("closed", "opened")
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		if n := <-written; n < 1 || n > 100_000 {
			t.Errorf("the write that blocked: got %d", n)
		}
	})
}

// TestHangupIsNoClose: B0 drops the lines as a close does, and the port stays open. So it does after an application has dropped
// both lines, if the driver goes on to submit IN transfers.
func TestHangupIsNoClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := plugIn(t, uart.PortConfig{})
		b.opens()
		written := b.resting()
		b.requests(4, 8, 0)
		b.requests(2, 0, 0)
		b.requests(1, 0x0300, 0)
		b.wants("settings DTR off RTS off")
		time.Sleep(10 * time.Second)
		b.requests(2, 0, 0) // a change of IXON, then both lines by TIOCMSET
		b.requests(1, 0x0300, 0)
		b.wants("settings DTR off RTS off")
		for total := 0; total < 100_000; {
			n, err := b.driver.read(make([]byte, 10_000))
			if total += n; err != nil {
				t.Fatal(err)
			}
		}
		if n := <-written; n != 100_000 {
			t.Errorf("the write: got %d", n)
		}
		time.Sleep(10 * time.Second)
		if n := b.announced(uart.KindClosed); n != 0 {
			t.Errorf("closes announced: %d", n)
		}
	})
}

// TestOpenUnseen: a driver that submits transfers without RESET_SIO has the port open.
func TestOpenUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := plugIn(t, uart.PortConfig{})
		u := &usbiptest.URB{Endpoint: 1, In: true, Room: 512}
		b.host.Submit(u)
		b.wants("opened")
		if _, err := b.chip.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		u.Wait()
		if string(u.Data) != "\x01\x60x" {
			t.Errorf("got %q", u.Data)
		}
	})
	t.Run("by bytes", func(t *testing.T) {
		b := plugIn(t, uart.PortConfig{})
		u := &usbiptest.URB{Endpoint: 2, Data: []byte("x")}
		b.host.Submit(u)
		b.wants("opened", "data x")
		u.Wait()
	})
}

// TestReplug: unplugging closes the port and drops its lines. Plugged in again, the chip works as before, without stale data.
func TestReplug(t *testing.T) {
	b := plugIn(t, uart.PortConfig{OpenWait: time.Hour})
	b.opens()
	if _, err := b.driver.write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := b.driver.drainWrites(); err != nil {
		t.Fatal(err)
	}
	written := b.resting()
	b.driver.end()
	if err := <-b.served; err != nil {
		t.Errorf("serve: %v", err)
	}
	b.wants("data last", "settings DTR off RTS off", "closed")
	if n := <-written; n < 1 || n >= 100_000 {
		t.Errorf("the write that blocked: got %d", n)
	}
	if n, err := b.chip.Write([]byte("to nobody")); n != 0 || err != nil {
		t.Errorf("a write to a closed port: got %d, %v", n, err)
	}
	if err := b.chip.SetModem(uart.DSR); err != nil {
		t.Error(err)
	}
	b.attach()
	b.opens()
	b.shows(0x21)
	if _, err := b.chip.Write([]byte("fresh")); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	if n, err := b.driver.read(p); err != nil || !bytes.Equal(p[:n], []byte("fresh")) {
		t.Errorf("got %q, %v", p[:n], err)
	}
}

// drainWrites waits until the chip has taken what was written.
func (d *driver) drainWrites() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.fifo)+len(d.writing) > 0 {
		if err := d.host.Err(); err != nil {
			return err
		}
		d.changed.Wait()
	}
	return nil
}

// TestRequestsCounted: control requests are counted, and nothing else; plugged in again, from 0.
func TestRequestsCounted(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	probing := b.chip.Requests()
	if probing != 6 {
		t.Errorf("when it has been found: got %d, want 6", probing)
	}
	b.opens()
	opened := b.chip.Requests()
	if opened <= probing {
		t.Errorf("when it has been opened: got %d, want more than %d", opened, probing)
	}
	if _, err := b.driver.write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	b.wants("data bytes")
	if got := b.chip.Requests(); got != opened {
		t.Errorf("after bytes: got %d, want %d", got, opened)
	}
	b.chip.Unplug()
	if err := <-b.served; err != nil {
		t.Errorf("serve: %v", err)
	}
	b.driver.end()
	if got := b.chip.Requests(); got != 0 {
		t.Errorf("unplugged: got %d, want 0", got)
	}
	b.attach()
	if got := b.chip.Requests(); got != probing {
		t.Errorf("found again: got %d, want %d", got, probing)
	}
}

// TestQuiet: nothing that the driver does until the first close is reported, and nothing of it waits, not even for a busy far
// UART. Settings changed meanwhile are reported at the next open.
func TestQuiet(t *testing.T) {
	b := plugIn(t, uart.PortConfig{OpenWait: time.Hour, Unsent: func() uart.Unsent { return uart.Unsent{Left: time.Hour} }})
	go func() { // the session is up at once
		_ = b.driver.open()
		b.driver.set(uart.Event{Coding: uart.Coding{Baud: 19200}})
	}()
	_, e := b.next()
	e.Ready(nil)
	b.wants("settings DTR on RTS on")
	b.wants("settings 19200 8N1 none")
	b.chip.Unplug()
	if err := <-b.served; err != nil {
		t.Fatal(err)
	}
	b.driver.end()
	b.wants("settings DTR off RTS off", "closed")

	over := b.chip.Quiet()
	b.attach()
	if err := b.driver.open(); err != nil {
		t.Fatal(err)
	}
	b.driver.set(uart.Event{Coding: uart.Coding{Baud: 300}, Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff, Break: uart.LevelOn}})
	if _, err := b.driver.write([]byte("to nobody")); err != nil {
		t.Fatal(err)
	}
	if err := b.driver.drain(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-over:
		t.Error("the quiet period ended before the close")
	default:
	}
	b.driver.set(uart.Event{Coding: uart.Coding{Baud: 9600}, Control: uart.Control{Break: uart.LevelOff}})
	before := b.announced(uart.KindClosed)
	b.driver.closes()
	<-over
	if got := b.announced(uart.KindClosed); got != before {
		t.Errorf("%d closes were announced in the quiet period", got-before)
	}

	go func() { _ = b.driver.open() }()
	_, e = b.next()
	if e.Kind != uart.KindOpened {
		t.Fatalf("got %v, want the open", e)
	}
	e.Ready(nil)
	b.wants("settings 9600 8N1 none")
	b.wants("settings DTR on RTS on")
}

// TestOpenIntoAFullQueue: if so many events wait that a close and the next open are merged away, the program that opens does not
// wait for a session, and the chip goes on.
func TestOpenIntoAFullQueue(t *testing.T) {
	b := plugIn(t, uart.PortConfig{OpenWait: testenv.Patience, Unsent: noSession})
	b.opens()
	for i := range 1000 {
		b.requests(1, 0x0300|uint16(i%4), 0) // DTR and RTS
	}
	b.driver.closes()
	if err := b.driver.open(); err != nil {
		t.Fatal(err)
	}
}
