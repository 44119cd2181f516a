package wincom_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
	"telnetcpc/wincom/wincomtest"
)

// TestChain goes the whole way, on every system, with the model in place of the driver: a program on COM9, the bridge, TCP,
// an access server and its UART with a loopback plug.
func TestChain(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	far := &farUART{}
	loop := &simulate.Loopback{}
	loop.Observe(far.record)
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url, err := remote.Parse("rfc2217://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r, err := remote.New(url, remote.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	pair := wincomtest.NewPair("COM9", "CNCB0")
	b := bridge.New(bridge.Config{
		Name: "COM9", Path: "COM9", Remote: r, Log: quiet,
		Open: func(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
			config.Path = "COM9"
			return wincom.On(pair).Open(ctx, config)
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	var all sync.WaitGroup
	all.Go(func() { _ = accessserver.New(accessserver.Config{Open: loop.Open, Log: quiet}).Serve(ctx, l) })
	all.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Errorf("bridge: %v", err)
		}
	})
	defer all.Wait()
	defer cancel()

	// Until the agent has opened its end, the driver masks to the word length that its previous user left there: 7 bits.
	for b.Status().Device == "" {
		if ctx.Err() != nil {
			t.Fatal("the bridge has opened no port")
		}
		time.Sleep(time.Millisecond)
	}
	a, err := pair.OpenApplication()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	stop := context.AfterFunc(ctx, func() { _ = a.Close() }) // ends a blocked read
	defer stop()
	if err := a.SetCoding(uart.Coding{Baud: 250_000, DataBits: 8, Parity: uart.ParityMark, StopBits: uart.Stop1Half}); err != nil {
		t.Fatal(err)
	}
	echoed := func(s string) {
		t.Helper()
		if _, err := a.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(s))
		if _, err := io.ReadFull(a, got); err != nil || string(got) != s {
			t.Fatalf("the loopback returned %q, %v, want %q", got, err, s)
		}
	}
	echoed("A\xff\x00B")
	if m := a.Modem(); m != uart.CTS|uart.DSR|uart.DCD|uart.RI {
		t.Errorf("modem state: got %v, want what the loopback plug makes of DTR and RTS", m)
	}
	a.Lines(uart.Control{RTS: uart.LevelOff})
	if err := a.SetCoding(uart.Coding{Baud: 115200, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}); err != nil {
		t.Fatal(err)
	}
	echoed("C")
	if m := a.Modem(); m != uart.DSR|uart.DCD|uart.RI {
		t.Errorf("modem state: got %v, want the same without CTS", m)
	}
	want := []string{`"A\xff\x00B" at 250000 8M1.5, RTS on`, `"C" at 115200 8N1, RTS off`}
	if got := far.sent(); !slices.Equal(got, want) {
		t.Errorf("the far UART did\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// farUART records what a simulated UART did.
type farUART struct {
	mu      sync.Mutex // guards records
	records []simulate.Record
}

func (f *farUART) record(r simulate.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.Data = slices.Clone(r.Data)
	f.records = append(f.records, r)
}

// sent returns what it sent, each run of bytes with the coding and the RTS in force.
func (f *farUART) sent() (words []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	coding, rts := uart.DefaultCoding(), uart.LevelOff
	var run []byte
	flush := func() {
		if len(run) > 0 {
			words = append(words, fmt.Sprintf("%q at %v, RTS %v", run, coding, rts))
			run = nil
		}
	}
	for _, r := range f.records {
		switch r.Event.Kind {
		case uart.KindData:
			run = append(run, r.Data...)
		case uart.KindSettings:
			flush()
			coding = r.Coding
			if r.Event.Control.RTS != 0 {
				rts = r.Event.Control.RTS
			}
		}
	}
	flush()
	return words
}
