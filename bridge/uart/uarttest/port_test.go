package uarttest_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// TestPortOrder: Next returns what the application does in the order in which it was done.
func TestPortOrder(t *testing.T) {
	var urgent []uart.Event
	p := uarttest.NewPort(uart.PortConfig{Urgent: func(e uart.Event) { urgent = append(urgent, e) }})
	ready := p.AppOpen()
	mustWrite(t, p, "A")
	p.AppSet(uart.Event{Coding: uart.Coding{Baud: 300}})
	mustWrite(t, p, "B")
	p.AppPurge(uart.PurgeTx)
	mustWrite(t, p, "C")
	p.AppClose()
	want := []string{"opened", "settings 300", "purge tx", "data C", "closed"}
	for i, w := range want {
		b, e, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		got := e.String()
		if e.Kind == uart.KindData {
			got = "data " + string(b)
		}
		if e.Ready != nil {
			e.Ready(io.ErrUnexpectedEOF)
		}
		if got != w {
			t.Errorf("item %d: got %q, want %q", i, got, w)
		}
	}
	if err := <-ready; err != io.ErrUnexpectedEOF {
		t.Errorf("open: got %v, want what Ready was given", err)
	}
	if len(urgent) != 2 || urgent[0].Purge != uart.PurgeTx || urgent[1].Kind != uart.KindClosed {
		t.Errorf("urgent: got %v, want the purge and the last close", urgent)
	}
}

// TestPortBackPressure: AppWrite blocks at 64 KiB, Write at 16 KiB; nothing is lost.
func TestPortBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := uarttest.NewPort(uart.PortConfig{})
		p.AppOpen()
		p.Next()
		sent := bytes.Repeat([]byte{1, 2, 3}, 50000)
		go p.AppWrite(sent)
		go p.Write(sent)
		synctest.Wait()
		if got := p.Waiting(); got != 64<<10 {
			t.Errorf("waiting: got %d, want %d", got, 64<<10)
		}
		var up []byte
		for len(up) < len(sent) {
			b, _, err := p.Next()
			if err != nil {
				t.Fatal(err)
			}
			up = append(up, b...)
		}
		down := make([]byte, len(sent))
		if _, err := io.ReadFull(reader{p}, down); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(up, sent) || !bytes.Equal(down, sent) {
			t.Error("bytes differ from what was sent")
		}
	})
}

// TestPortDrain: a drain waits for Next, for the lent bytes and for Unsent.
func TestPortDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Minute)
		p := uarttest.NewPort(uart.PortConfig{Unsent: func() uart.Unsent { return uart.Unsent{Left: time.Until(end)} }})
		p.AppOpen()
		mustWrite(t, p, "A")
		drained := make(chan error, 1)
		go func() { drained <- p.AppDrain() }()
		p.Next()
		p.Next()
		synctest.Wait()
		select {
		case <-drained:
			t.Fatal("drained while the bytes are lent")
		default:
		}
		go p.Next()
		if err := <-drained; err != nil || time.Now().Before(end) {
			t.Errorf("drained %v before the far UART was empty (%v)", time.Until(end), err)
		}
		p.Close()
	})
}

// TestPortDrainWithoutSession: a drain that waits for Next ends soon after Unsent reports that no byte is waited for; the
// bytes stay.
func TestPortDrainWithoutSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Minute)
		p := uarttest.NewPort(uart.PortConfig{Unsent: func() uart.Unsent {
			if time.Now().Before(end) {
				return uart.Unsent{Left: time.Hour}
			}
			return uart.Unsent{Left: -1}
		}})
		p.AppOpen()
		mustWrite(t, p, "A")
		if err := p.AppDrain(); err != nil || time.Since(end) < 0 || time.Since(end) > time.Second {
			t.Errorf("drained %v after the session was away (%v)", time.Since(end), err)
		}
		p.Next()
		if b, _, err := p.Next(); string(b) != "A" || err != nil {
			t.Errorf("next: got %q, %v; want the byte", b, err)
		}
		if err := p.AppDrain(); err != nil { // lent
			t.Error(err)
		}
		p.Close()
	})
}

// TestPortMerge: beyond 256 events settings merge, and the last value of each is kept.
func TestPortMerge(t *testing.T) {
	p := uarttest.NewPort(uart.PortConfig{})
	p.AppOpen()
	for i := range 300 {
		p.AppSet(uart.Event{Control: uart.Control{DTR: uart.LevelOf(i%2 == 0)}})
	}
	p.AppSet(uart.Event{Control: uart.Control{RTS: uart.LevelOn}})
	n, last := 0, uart.Event{}
	mustWrite(t, p, "x")
	for {
		_, e, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == uart.KindData {
			break
		}
		n, last = n+1, e
	}
	if want := (uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOn}); n != 256 || last.Control != want {
		t.Errorf("got %d events, the last %v; want 256 and %v", n, last, want)
	}
	if p.Merged() != 46 {
		t.Errorf("merged: got %d, want 46", p.Merged())
	}
}

// TestPortReduced: a port that claims less reports less and refuses what it cannot show to the application.
func TestPortReduced(t *testing.T) {
	p := uarttest.NewPort(uart.PortConfig{})
	p.SetFidelity(uart.CarriesBaud | uart.CarriesLineErrors)
	if err := p.SetModem(uart.CTS); !errors.Is(err, uart.ErrNotCarried) {
		t.Errorf("SetModem: got %v, want ErrNotCarried", err)
	}
	if err := p.ReportLine(uart.LineBreak); !errors.Is(err, uart.ErrNotCarried) {
		t.Errorf("ReportLine: got %v, want ErrNotCarried", err)
	}
	if err := p.ReportLine(uart.LineParity); err != nil {
		t.Errorf("ReportLine: %v", err)
	}
	p.AppOpen()
	p.AppSet(uart.Event{Control: uart.Control{DTR: uart.LevelOn}})
	p.AppSet(uart.Event{Coding: uart.Coding{Baud: 300, DataBits: 7}, Flow: uart.Flow{Out: uart.FlowNone}})
	p.Next()
	if _, e, err := p.Next(); err != nil || e.String() != "settings 300" {
		t.Errorf("got %v, %v; want the baud rate alone", e, err)
	}
}

// reader is the application's reading end.
type reader struct{ p *uarttest.Port }

func (r reader) Read(b []byte) (int, error) { return r.p.AppRead(b) }

func mustWrite(t *testing.T, p *uarttest.Port, s string) {
	t.Helper()
	if _, err := p.AppWrite([]byte(s)); err != nil {
		t.Fatal(err)
	}
}
