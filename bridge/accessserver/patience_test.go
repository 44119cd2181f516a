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

// retries starts a client that wants the device, is refused, and dials again, as a bridge does. It ends with ctx, or when it has the
// device, and then it leaves.
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

// However long another client has waited while the owner was there: when the owner leaves, the time for its last bytes begins.
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

// A client that has left again does not want the device any more.
func TestNewcomerThatHasGoneWantsNothing(t *testing.T) {
	f := overTCP(t)
	c := f.connect(rfc2217.Config{})
	text := strings.Repeat("slow", 110) // 15 s
	c.set(slow)
	c.send(text)
	c.end()
	f.awaitLog("client gone")
	came := f.dial()
	_, _ = came.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	time.Sleep(2 * time.Second)
	_ = came.Close()
	f.awaitLog("client left", "up=440")
	if got := f.sent(); got != text {
		t.Errorf("%d of %d bytes were sent", len(got), len(text))
	}
}
