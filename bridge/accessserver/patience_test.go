package accessserver_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// retries is a client that wants the device, is refused, and comes again, as a bridge's does. It ends with ctx, or when it has
// the device, which it closes then.
func (f *far) retries(ctx context.Context, ways *sync.WaitGroup) {
	ways.Go(func() {
		for ctx.Err() == nil {
			conn := f.dial()
			c, err := rfc2217.Open(ctx, conn, rfc2217.Config{})
			if err == nil {
				_ = c.Close()
				return
			}
			_ = conn.Close()
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	})
}

// However long another one has waited while a client was there: when that one goes, its last bytes have their time from then
// on.
func TestLastBytesHaveTimeThoughAnotherHasWaitedLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.connect(rfc2217.Config{})
		c.sees("modem none")
		var ways sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		f.retries(ctx, &ways)
		time.Sleep(time.Minute)
		text := strings.Repeat("last words. ", 150) // 1.9 s
		c.send(text)
		c.end()
		ways.Wait()
		cancel()
		if got := f.sent(); got != text {
			t.Errorf("%d of %d bytes were sent", len(got), len(text))
		}
	})
}

// Who has gone away again wants nothing.
func TestNewcomerThatHasGoneWantsNothing(t *testing.T) {
	f := overTCP(t)
	c := f.connect(rfc2217.Config{})
	text := strings.Repeat("slow", 110) // 15 s
	c.set(slow)
	c.send(text)
	c.end()
	f.says("client gone")
	came := f.dial()
	_, _ = came.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	time.Sleep(2 * time.Second)
	_ = came.Close()
	f.says("client left", "up=440")
	if got := f.sent(); got != text {
		t.Errorf("%d of %d bytes were sent", len(got), len(text))
	}
}
