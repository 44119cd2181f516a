package accessserver_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
)

// A client that wants the device has it within 15 s, although the bytes of a client that is gone would need half an hour. Those
// that are not sent are counted.
func TestNewcomerNeedNotWaitForTheLastBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		for range 12 { // their log lines crowd out no line about a loss
			c := f.call()
			endless := append([]byte{byte(telnet.IAC), byte(telnet.SB), byte(telnet.ComPort)}, make([]byte, 2<<20)...)
			_, _ = c.Write(endless) // until the server disconnects it
			_ = c.Close()
		}
		gone := f.connect(rfc2217.Config{})
		gone.set(slow)
		const size = 60 << 10
		gone.send(strings.Repeat("g", size))
		gone.end()
		time.Sleep(10 * time.Second)
		began := time.Now()
		next := f.connect(rfc2217.Config{})
		next.sees("modem none")
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the next client has the device after %v, want 15 s at most", took)
		}
		if !strings.Contains(f.logged(), "another client waits") {
			t.Error("the log does not report the dropped bytes")
		}
		sent, dropped := len(f.sent()), 0
		for line := range strings.Lines(f.logged()) {
			if _, n, ok := strings.Cut(line, "dropped="); ok {
				_, _ = fmt.Sscanf(n, "%d", &dropped)
			}
		}
		if lost := size - sent; dropped < lost-1 || dropped > lost+1 { // the byte on the line counts as either
			t.Errorf("of %d bytes %d were sent and %d reported as dropped", size, sent, dropped)
		}
		next.set(fast)
		next.send("mine")
		next.sees("mine")
	})
}

// While nobody else wants the device, the bytes of a client that is gone are sent for as long as they leave.
func TestLastBytesHaveTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.connect(rfc2217.Config{})
		text := strings.Repeat("slowly. ", 2000) // nine minutes
		c.set(slow)
		c.send(text)
		c.end()
		time.Sleep(slow.Coding.LineTime(len(text)) + time.Second)
		synctest.Wait()
		if got := f.sent(); got != text {
			t.Errorf("%d of %d bytes were sent", len(got), len(text))
		}
	})
}

// A health check, which only connects, does not want the device: it costs a client that is gone no bytes.
func TestHealthCheckCostsNoBytes(t *testing.T) {
	t.Parallel()
	f := overTCP(t)
	c := f.connect(rfc2217.Config{})
	text := strings.Repeat("slow", 75) // 10 s
	c.set(slow)
	c.send(text)
	c.end()
	f.awaitLog("client gone")
	for range 3 {
		check := f.dial()
		_ = check.SetReadDeadline(time.Now().Add(testenv.Patience))
		if got, err := io.ReadAll(check); err != nil || string(got) != "Port already in use\r\n" {
			t.Errorf("a health check reads %q, %v", got, err)
		}
		_ = check.Close()
	}
	check := f.dial() // one that stays connected
	f.awaitLog("client left", "up=300")
	if got := f.sent(); got != text {
		t.Errorf("%d of %d bytes were sent", len(got), len(text))
	}
	_ = check.Close()
}
