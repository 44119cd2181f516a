package wincom_test

import (
	"bytes"
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

// bench is one port on one model.
type bench struct {
	*testing.T
	pair *wincomtest.Pair
	port uart.Port
	log  text

	mu     sync.Mutex // over what follows
	urgent []uart.Event
	asked  []string // the requests that the driver got
}

// text is what was logged.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// newBench returns a bench without a port yet.
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
	return wincom.On(listening{b.pair, b}).Open(context.Background(), config)
}

// start makes the port and closes it when the test ends, or when its patience does: then every call returns.
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
			b.Errorf("something did not come within %v", testenv.Patience)
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

// wants takes answers of Next as words: events as they print, bytes quoted. Bytes that follow each other are one word.
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

// write is a program's write that the driver takes at once.
func (b *bench) write(a *wincomtest.Application, s string) {
	b.Helper()
	if _, err := a.Write([]byte(s)); err != nil {
		b.Fatalf("the program's write: %v", err)
	}
}

// set is a program's SetCommState.
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

func (b *bench) calledOut() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.urgent)
}

// eventually waits for what nothing announces.
func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(testenv.Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s: not within %v", what, testenv.Patience)
		}
	}
}

// listening is a system that keeps every request of the port.
type listening struct {
	wincom.System
	b *bench
}

func (l listening) Open(name string) (wincom.Device, error) {
	d, err := l.System.Open(name)
	if err != nil {
		return nil, err
	}
	return listeningDevice{d, l.b}, nil
}

type listeningDevice struct {
	wincom.Device
	b *bench
}

func (d listeningDevice) Ioctl(code wincom.Ioctl, in, out []byte) (int, error) {
	n, err := d.Device.Ioctl(code, in, out)
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	said := code.String()
	if len(in) > 0 {
		said += " " + hex.EncodeToString(in)
	}
	if n > 0 {
		said += " -> " + hex.EncodeToString(out[:n])
	}
	d.b.asked = append(d.b.asked, said)
	return n, err
}
