package wincom_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"telnetcpc/bridge/uart"
)

// Programs open, write, change settings and close while the device sends and drives its lines. Opens and closes alternate,
// every byte arrives once and in order, and Close ends everything.
func TestStorm(t *testing.T) {
	b := newBench(t).start()
	const programs, chunks = 60, 20
	var devices sync.WaitGroup
	stop := make(chan struct{})
	devices.Go(func() {
		for p := bytes.Repeat([]byte("down"), 2000); ; {
			if _, err := b.port.Write(p); err != nil {
				if !errors.Is(err, uart.ErrClosed) {
					t.Errorf("write: %v", err)
				}
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	devices.Go(func() {
		for m := uart.ModemState(0); ; m += 16 {
			if err := b.port.SetModem(m); err != nil {
				if !errors.Is(err, uart.ErrClosed) {
					t.Errorf("set modem: %v", err)
				}
				return
			}
		}
	})
	written := make(chan []string, 1)
	go func() { written <- b.programsComeAndGo(programs, chunks) }()

	var got []string
	var text []byte
	open := false
	for closes := 0; closes < programs; {
		p, e, err := b.port.Next()
		switch {
		case err != nil:
			t.Fatalf("next: %v", err)
		case e.Kind == uart.KindData && open:
			text = append(text, p...)
		case e.Kind == uart.KindOpened && !open:
			open = true
		case e.Kind == uart.KindClosed && open:
			open = false
			got = append(got, string(text))
			text = nil
			closes++
		case e.Kind != uart.KindSettings:
			t.Fatalf("next: got %v %q while open is %v", e, p, open)
		}
	}
	close(stop)
	for i, want := range <-written {
		if got[i] != want {
			t.Errorf("program %d: got %.60q, want %.60q", i, got[i], want)
		}
	}
	if n := b.announcedCloses(); n != programs {
		t.Errorf("announced closes: got %d, want %d", n, programs)
	}
	_ = b.port.Close()
	devices.Wait()
}

// programsComeAndGo runs the programs one after the other and returns what each has written.
func (b *bench) programsComeAndGo(programs, chunks int) (written []string) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range programs {
		a, err := b.pair.OpenApplication()
		if err != nil {
			b.Error(err)
			return written
		}
		var text []byte
		for j := range chunks {
			switch r.IntN(5) {
			case 0:
				a.Lines(uart.Control{RTS: uart.LevelOf(r.IntN(2) == 0), Break: uart.LevelOf(r.IntN(4) == 0)})
				a.Lines(uart.Control{Break: uart.LevelOff})
			case 1:
				_ = a.SetCoding(uart.Coding{Baud: 300 << r.IntN(8)})
			case 2:
				_, _ = a.Read(make([]byte, 1+r.IntN(5000)))
			default:
				p := fmt.Appendf(nil, "[%d %d \xff\x00\xff]", i, j)
				if _, err := a.Write(p); err != nil {
					b.Error(err)
				}
				text = append(text, p...)
			}
		}
		_ = a.Close()
		written = append(written, string(text))
	}
	return written
}
