package accessserver_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// watched starts a server with a simulated UART that this many clients may watch.
func watched(t *testing.T, watchers int) *far {
	t.Helper()
	l := listen(t)
	f := &far{t: t, dial: dialTCP(t, l)}
	device := new(simulate.Loopback)
	device.Observe(f.observe)
	return f.startWith(l, accessserver.Config{Open: device.Open, Watchers: watchers})
}

// A watcher receives what the owner receives, and cannot change anything.
func TestWatcher(t *testing.T) {
	f := watched(t, 1)
	owner := f.connect(rfc2217.Config{})
	owner.set(fast)
	owner.set(uart.Event{Control: uart.Control{DTR: uart.LevelOn}})
	owner.send("before")
	owner.sees("before")

	watcher := f.call2("modem DSR|DCD|RI")
	owner.send("seen by both")
	owner.sees("beforeseen by both")
	watcher.sees("seen by both")
	owner.set(uart.Event{Control: uart.Control{RTS: uart.LevelOn}})
	watcher.sees("modem CTS|DSR|DCD|RI")

	watcher.send("unheard")
	watcher.set(uart.Event{Coding: uart.Coding{Baud: 1200}, Control: uart.Control{DTR: uart.LevelOff}})
	watcher.sees("refused 1200 (answer 20000000)")
	f.awaitLog("watcher writes")
	f.refuses()

	owner.end()
	f.awaitLog("client left")
	next := f.connect(rfc2217.Config{})
	next.set(fast)
	next.send("the next owner")
	watcher.sees("the next owner")
	next.end()
	watcher.end()
	f.awaitLog("watcher left")
	for _, did := range f.did() {
		if strings.Contains(did, "unheard") || strings.Contains(did, "1200") {
			t.Errorf("the watcher has changed the UART: %s", did)
		}
	}
}

// refuses checks that no further client is accepted.
func (f *far) refuses() {
	f.t.Helper()
	c := f.dial()
	_ = c.SetReadDeadline(time.Now().Add(testenv.Patience))
	if got, err := io.ReadAll(c); err != nil || string(got) != "Port already in use\r\n" {
		f.t.Errorf("one too many: got %q, %v", got, err)
	}
	_ = c.Close()
}

// call2 connects a watcher, and waits until it has received this modem state.
func (f *far) call2(modem string) *near {
	f.t.Helper()
	w := f.connect(rfc2217.Config{AckTimeout: 100 * time.Millisecond})
	w.sees(modem)
	f.awaitLog("watcher connected")
	return w
}

// A watcher that reads nothing loses bytes; the owner loses none.
func TestSlowWatcher(t *testing.T) {
	f := watched(t, 2)
	owner, err := rfc2217.Open(t.Context(), f.dial(), rfc2217.Config{})
	if err != nil {
		t.Fatal(err)
	}
	f.awaitLog("client connected")
	conn := f.dial()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	lazy, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
	if err != nil {
		t.Fatal(err)
	}
	f.awaitLog("watcher connected")

	sent := bytes.Repeat([]byte("0123456789abcdef"), 6<<20/16) // more than the buffers of TCP and of the server hold
	written := make(chan error, 1)
	go func() {
		err := owner.Apply(uart.Event{Kind: uart.KindSettings, Coding: fast.Coding})
		if err == nil {
			err = writeAll(owner, sent)
		}
		written <- err
	}()
	var got bytes.Buffer
	for got.Len() < len(sent) {
		p, _, err := owner.Next()
		if err != nil {
			t.Fatal(err)
		}
		got.Write(p)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), sent) {
		t.Error("the owner's bytes are not what it sent")
	}
	_ = lazy.Close()
	f.awaitLog("watcher left")
	if said := f.logged(); strings.Contains(said, "lost=0\n") {
		t.Errorf("nothing was lost, so the test shows nothing\n%s", said)
	}
	_ = owner.Close()
}
