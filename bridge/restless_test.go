package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/loglimit"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// counted is a log that only records when its lines came.
type counted struct {
	slog.Handler
	mu   sync.Mutex
	at   []time.Time
	last slog.Record
}

func (c *counted) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.last = append(c.at, r.Time), r
	return nil
}

// restless is a remote that never does the same twice: it fails each time with another text, or accepts and hangs up at
// once.
type restless struct {
	*far
	refuses bool
	n       int
}

func (r *restless) Dial(ctx context.Context, mask uart.LineState) (uart.Session, error) {
	r.n++ // the bridge makes one dial at a time
	if r.refuses {
		return nil, fmt.Errorf("it says %d", r.n)
	}
	s, err := r.far.Dial(ctx, mask)
	if err != nil {
		return nil, err
	}
	fs := s.(*farSession)
	time.AfterFunc(time.Millisecond, func() { fs.lose(fmt.Errorf("reset %d", r.n)) })
	return s, nil
}

// A remote decides how often it ends a session and with what text. It cannot fill the log.
func TestRestlessRemoteInTheLog(t *testing.T) {
	for name, refuses := range map[string]bool{"agrees and hangs up": false, "refuses in ever other words": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const most = 6
				out := &counted{Handler: slog.DiscardHandler}
				r := &restless{far: newFar(), refuses: refuses}
				b := bridge.New(bridge.Config{
					Name: "ttyV0", Path: "/dev/ttyV0", Remote: r, Log: slog.New(slog.DiscardHandler), Peer: loglimit.New(enabled{out}, most),
					Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
						p := uarttest.NewPort(c)
						p.AppOpen()
						return p, nil
					},
				})
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error, 1)
				go func() { result <- b.Run(ctx) }()
				time.Sleep(10 * time.Minute)
				cancel()
				if err := <-result; err != nil && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				if r.n < 100 {
					t.Fatalf("only %d dials in ten minutes", r.n)
				}
				out.mu.Lock()
				defer out.mu.Unlock()
				for i, at := range out.at {
					if n := i + most; n < len(out.at)-1 && out.at[n].Sub(at) < loglimit.Window/2 {
						t.Errorf("lines %d to %d came within %v", i, n, out.at[n].Sub(at))
					}
				}
				if n := len(out.at); n < most || n > 12*most {
					t.Errorf("%d lines in ten minutes and %d dials", n, r.n)
				}
			})
		})
	}
}

// enabled is a handler that accepts everything from slog.LevelInfo on.
type enabled struct{ *counted }

func (enabled) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Lines of losses may be left out: each one that is written has the sum of all losses, and so has the last line at the
// end.
func TestLossesInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logLines{}
		f := newFar()
		f.set(func() { f.noMarks = true })
		b, p, _ := opened(t, bridge.Policy{}, f, 0, slog.New(slog.NewTextHandler(log, nil)))
		for i := range 3 {
			s := f.session(i)
			synctest.Wait()
			b.write("1234567")
			s.take(7)
			s.lose(errors.New("reset"))
			s.ended()
			if got, want := b.status().LostAtMost, uint64(7*(i+1)); got != want {
				t.Errorf("after %d losses of 7 bytes: got %d in all, want %d", i+1, got, want)
			}
			if logged := strings.Contains(log.String(), fmt.Sprintf("lost_at_most=7 in_all=%d", 7*(i+1))); logged != (i > 0) {
				t.Errorf("loss %d: logged %v\n%s", i+1, logged, log.String())
			}
		}
		p.AppClose()
		b.end()
		if all := "dropped_in_all=0 lost_at_most_in_all=21"; !strings.Contains(log.String(), all) {
			t.Errorf("%q is not logged at the end:\n%s", all, log.String())
		}
	})
}

// Lines that a remote can cause without limit displace no loss: each loss is logged when it happens.
func TestNoiseLeavesNoLossOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logLines{}
		handler := slog.NewTextHandler(log, nil)
		f := newFar()
		f.set(func() { f.noMarks = true })
		ports := make(chan *uarttest.Port, 1)
		b := bridge.New(bridge.Config{
			Name: "ttyV0", Path: "/dev/ttyV0", Remote: f, Log: slog.New(slog.DiscardHandler),
			Peer: loglimit.New(handler, 1), Losses: loglimit.New(handler, 3),
			Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
				p := uarttest.NewPort(c)
				p.AppOpen()
				ports <- p
				return p, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- b.Run(ctx) }()
		p := <-ports
		for i := range 3 {
			s := f.session(i)
			synctest.Wait()
			if _, err := p.AppWrite([]byte("1234567")); err != nil {
				t.Fatal(err)
			}
			s.take(7)
			s.lose(errors.New("reset"))
			s.ended()
			synctest.Wait()
			if n := strings.Count(log.String(), "lost_at_most=7"); n != i+1 {
				t.Errorf("after %d losses %d lines report one:\n%s", i+1, n, log.String())
			}
		}
		p.AppClose()
		cancel()
		if err := <-result; err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}
