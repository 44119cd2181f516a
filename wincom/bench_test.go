package wincom_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
	"telnetcpc/wincom/wincomtest"
)

// bench is one port on one model of a pair.
type bench struct {
	*testing.T
	pair *wincomtest.Pair
	port uart.Port
	log  testenv.Output

	mu       sync.Mutex // guards the rest
	urgent   []uart.Event
	requests []string // to the driver
}

// newBench returns a bench without a port.
func newBench(t *testing.T) *bench {
	return &bench{T: t, pair: wincomtest.NewPair("COM9", "CNCB0")}
}

// open makes the port.
func (b *bench) open(config uart.PortConfig) (uart.Port, error) {
	config.Log = slog.New(slog.NewTextHandler(&b.log, nil))
	config.Urgent = func(e uart.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.urgent = append(b.urgent, e)
	}
	if config.Path == "" {
		config.Path = "COM9"
	}
	return wincom.On(recordingSystem{b.pair, b}).Open(context.Background(), config)
}

// start makes the port. It is closed when the test ends, or after testenv.Patience, so that no call blocks for ever.
func (b *bench) start() *bench {
	b.Helper()
	return b.startWith(uart.PortConfig{})
}

func (b *bench) startWith(config uart.PortConfig) *bench {
	b.Helper()
	port, err := b.open(config)
	if err != nil {
		b.Fatalf("open: %v", err)
	}
	b.port = port
	over := time.AfterFunc(testenv.Patience, func() { _ = port.Close() })
	b.Cleanup(func() {
		if !over.Stop() {
			b.Errorf("the test was not done within %v", testenv.Patience)
		}
		if err := port.Close(); err != nil {
			b.Errorf("close: %v", err)
		}
	})
	return b
}

// program opens the application's end.
func (b *bench) program() *wincomtest.Application {
	b.Helper()
	a, err := b.pair.OpenApplication()
	if err != nil {
		b.Fatalf("the program's open: %v", err)
	}
	b.Cleanup(func() { _ = a.Close() })
	return a
}

// wants compares what Next returns with words: events as they print, bytes quoted. Consecutive bytes are one word.
func (b *bench) wants(words ...string) {
	b.Helper()
	for _, want := range words {
		got := ""
		for {
			p, e, err := b.port.Next()
			if err != nil {
				b.Fatalf("next: %v, want %s", err, want)
			}
			if e.Kind != uart.KindData {
				got = e.String()
				break
			}
			if len(p) == 0 {
				b.Fatal("next: neither bytes nor an event")
			}
			got = fmt.Sprintf("%s%q", got, p)
			if got = strings.ReplaceAll(got, `""`, ""); got == want || !strings.HasPrefix(want, got[:len(got)-1]) {
				break
			}
		}
		if got != want {
			b.Fatalf("next: got %s, want %s", got, want)
		}
	}
}

// write writes as a program; the driver must have room.
func (b *bench) write(a *wincomtest.Application, s string) {
	b.Helper()
	if _, err := a.Write([]byte(s)); err != nil {
		b.Fatalf("the program's write: %v", err)
	}
}

// set sets a program's coding as SetCommState does.
func (b *bench) set(a *wincomtest.Application, coding string) {
	b.Helper()
	c, err := uart.ParseCoding(coding)
	if err == nil {
		err = a.SetCoding(c)
	}
	if err != nil {
		b.Fatalf("the program's SetCommState: %v", err)
	}
}

// announcedCloses returns how many events came through Urgent; all are closes.
func (b *bench) announcedCloses() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.urgent)
}

// eventually polls for a condition that nothing signals.
func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(testenv.Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s: not within %v", what, testenv.Patience)
		}
	}
}

// recordingSystem records every request of the port.
type recordingSystem struct {
	wincom.System
	b *bench
}

func (l recordingSystem) Open(name string) (wincom.Device, error) {
	d, err := l.System.Open(name)
	if err != nil {
		return nil, err
	}
	return recordingDevice{d, l.b}, nil
}

type recordingDevice struct {
	wincom.Device
	b *bench
}

func (d recordingDevice) Ioctl(code wincom.Ioctl, in, out []byte) (int, error) {
	n, err := d.Device.Ioctl(code, in, out)
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	text := code.String()
	if len(in) > 0 {
		text += " " + hex.EncodeToString(in)
	}
	if n > 0 {
		text += " -> " + hex.EncodeToString(out[:n])
	}
	d.b.requests = append(d.b.requests, text)
	return n, err
}
