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

// Somebody who wants the device has it within 15 s, though bytes of a client that is gone would need it for half an hour.
// What of them was not sent is counted.
func TestNewcomerNeedNotWaitForTheLastBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		for range 12 { // their lines in the log leave out none that tells of a loss
			c := f.call()
			endless := append([]byte{byte(telnet.IAC), byte(telnet.SB), byte(telnet.ComPort)}, make([]byte, 2<<20)...)
			_, _ = c.Write(endless) // until the server hangs up
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
			t.Errorf("a newcomer has the device after %v, want 15 s at most", took)
		}
		if !strings.Contains(f.said(), "another client waits") {
			t.Error("the log does not tell of the bytes dropped")
		}
		sent, dropped := len(f.sent()), 0
		for line := range strings.Lines(f.said()) {
			if _, n, ok := strings.Cut(line, "dropped="); ok {
				_, _ = fmt.Sscanf(n, "%d", &dropped)
			}
		}
		if lost := size - sent; dropped < lost-1 || dropped > lost+1 { // the byte that was on the line is either
			t.Errorf("of %d bytes %d were sent and %d said to be dropped", size, sent, dropped)
		}
		next.set(fast)
		next.send("mine")
		next.sees("mine")
	})
}

// Without a newcomer the bytes of a client that is gone go out as long as they leave.
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

// Who only connects, as a health check does, wants nothing: the bytes of a client that is gone stay on their way.
func TestHealthCheckCostsNoBytes(t *testing.T) {
	t.Parallel()
	f := overTCP(t)
	c := f.connect(rfc2217.Config{})
	text := strings.Repeat("slow", 75) // 10 s
	c.set(slow)
	c.send(text)
	c.end()
	f.says("client gone")
	for range 3 {
		check := f.dial()
		_ = check.SetReadDeadline(time.Now().Add(testenv.Patience))
		if got, err := io.ReadAll(check); err != nil || string(got) != "Port already in use\r\n" {
			t.Errorf("a health check gets %q, %v", got, err)
		}
		_ = check.Close()
	}
	check := f.dial() // and one that hangs on
	f.says("client left", "up=300")
	if got := f.sent(); got != text {
		t.Errorf("%d of %d bytes were sent", len(got), len(text))
	}
	_ = check.Close()
}
