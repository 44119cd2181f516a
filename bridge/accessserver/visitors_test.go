package accessserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
)

// A connection that sends nothing keeps nobody from the device.
func TestSilentConnectionOwnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		silent := f.dial()
		synctest.Wait()
		began := time.Now()
		f.connect(rfc2217.Config{}).sees("modem none")
		if took := time.Since(began); took > time.Second {
			t.Errorf("a client has the device after %v", took)
		}
		f.awaitLog("it sends nothing")
		_ = silent.Close()
	})
}

// Of two clients that negotiate at the same time one gets the device, and the other is refused.
func TestTwoAgreeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		callers := []*caller{{Conn: f.dial(), t: t}, {Conn: f.dial(), t: t}}
		synctest.Wait() // both are in the negotiation
		for _, c := range callers {
			c.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
		}
		serves, refuses := 0, 0
		for _, c := range callers {
			for {
				data, m, err := c.next()
				if string(data) == "Port already in use\r\n" {
					refuses++
				} else if m.Command == telnet.SB {
					serves++
				} else if err == nil {
					continue
				}
				break
			}
		}
		if serves != 1 || refuses != 1 {
			t.Errorf("%d are served and %d refused, want one and one", serves, refuses)
		}
		for _, c := range callers {
			_ = c.Close()
		}
	})
}

// If clients may watch, the other of the two watches.
func TestTwoAgreeAtOnceAndOneWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		f := &far{t: t, dial: l.dial}
		f.startWith(l, accessserver.Config{Open: new(simulate.Loopback).Open, Watchers: 1})
		callers := []*caller{{Conn: f.dial(), t: t}, {Conn: f.dial(), t: t}}
		synctest.Wait() // both are in the negotiation
		for _, c := range callers {
			c.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
		}
		for _, c := range callers {
			c.hears(rfc2217.NotifyModemState, 0)
		}
		f.awaitLog("watcher connected")
		for _, c := range callers {
			_ = c.Close()
		}
	})
}

// remote reports a refusal after the negotiation.
func TestRefusedAfterTheAgreement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		var ways sync.WaitGroup
		results := make(chan error, 2)
		conns := []net.Conn{f.dial(), f.dial()}
		synctest.Wait()
		for _, conn := range conns {
			ways.Go(func() {
				c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
				results <- err
				if err == nil {
					time.Sleep(5 * time.Second)
					_ = c.Close()
				}
				_ = conn.Close()
			})
		}
		a, b := <-results, <-results
		ways.Wait()
		if a == nil {
			a, b = b, a
		}
		if !errors.Is(a, rfc2217.ErrInUse) || b != nil {
			t.Errorf("got %v and %v, want one in use and one served", a, b)
		}
	})
}

// However many clients watch, another one can own the device.
func TestWatchersLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		f := &far{t: t, dial: l.dial}
		f.startWith(l, accessserver.Config{Open: new(simulate.Loopback).Open, Watchers: 60})
		owner := f.connect(rfc2217.Config{})
		owner.sees("modem none")
		for range 60 {
			w := f.call()
			defer w.Close()
		}
		f.refuses()
		owner.end()
		f.awaitLog("client left")
		f.connect(rfc2217.Config{}).sees("modem none")
	})
}

// Among a thousand connections that send nothing, a hundred that send and never read, and a port scanner, a client has its device
// within 15 s, and the log stays short.
func TestCrowd(t *testing.T) {
	f := overTCP(t)
	ctx, cancel := context.WithCancel(t.Context())
	var ways sync.WaitGroup
	defer ways.Wait()
	defer cancel()
	var mu sync.Mutex
	var open []net.Conn
	dial := func(says string) net.Conn {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			return nil
		}
		mu.Lock()
		open = append(open, conn)
		mu.Unlock()
		_, _ = io.WriteString(conn, says)
		return conn
	}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	for range 1000 {
		dial("")
	}
	talk := strings.Repeat("\xff\xfd\x01\xff\xfe\x01", 200) // DO ECHO, DONT ECHO
	for range 100 {
		dial(talk)
	}
	ways.Go(func() { // the scanner; ends with ctx
		for i := 0; ctx.Err() == nil; i++ {
			if conn := dial([]string{"", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", talk}[i%4]); conn != nil && i%3 > 0 {
				_ = conn.Close()
			}
			time.Sleep(5 * time.Millisecond) // how often it comes
		}
	})
	began := time.Now()
	var client *rfc2217.Client
	for client == nil && time.Since(began) < testenv.Patience {
		conn := f.dial()
		c, err := rfc2217.Open(ctx, conn, rfc2217.Config{})
		if err != nil {
			_ = conn.Close()
			time.Sleep(100 * time.Millisecond) // as a bridge's first dials
			continue
		}
		client = c
	}
	if took := time.Since(began); client == nil || took > inTime {
		t.Fatalf("a client has the device after %v (%v), want 15 s at most", took, client != nil)
	}
	t.Logf("the client has the device after %v", time.Since(began))
	_ = client.Close()
	cancel()
	ways.Wait()
	f.end()
	if n := strings.Count(f.logged(), "\n"); time.Since(began) < 30*time.Second && n > 14 {
		t.Errorf("%d lines in the log, want few", n)
	}
}
