//go:build unix

package accessserver_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/telnet"
)

// Connections that send nothing do not own the device.
func TestServeAmongTheSilent(t *testing.T) {
	c := newCrowd(t, 0)
	c.come(1000, c.stays)
	c.settled(1000)
	s, took := c.real()
	_ = s.Close()
	c.must(took)
}

// Clients that only check the open port, again and again, keep nobody from the device.
func TestServeAmongScanners(t *testing.T) {
	c := newCrowd(t, 0)
	c.come(4, c.checks)
	c.come(4, c.scans)
	c.come(10, c.halfCloses)
	c.settled(20)
	s, took := c.real()
	c.settled(c.came.Load() + 200) // they continue while it has the device
	if err := trip(s, "still mine"); err != nil {
		t.Errorf("the session is gone: %v", err)
	}
	_ = s.Close()
	again, tookAgain := c.real()
	_ = again.Close()
	c.must(max(took, tookAgain))
}

// Clients that have sessions and leave, again and again, do not fill the log, and take the device only while they have it.
func TestServeAmongReturners(t *testing.T) {
	c := newCrowd(t, 0)
	c.come(2, c.returns)
	c.settled(100)
	s, took := c.real()
	_ = s.Close()
	c.must(took)
}

// Clients that negotiate and never read while the device sends make nobody wait: neither the owner whom they watch nor later
// clients. (One that came to a free device would own it, like a program that is stopped.)
func TestServeAmongTheDeaf(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 10 s")
	}
	for _, watchers := range []int{0, 8, 64} {
		t.Run(fmt.Sprintf("%d may watch", watchers), func(t *testing.T) {
			c := newCrowd(t, watchers)
			s, took := c.real()
			c.come(100, c.agrees)
			c.settled(100)
			for i, began := 0, time.Now(); i < 200 || time.Since(began) < waitMost; i++ {
				if err := trip(s, fmt.Sprint("talk ", i, strings.Repeat(".", 4000), i)); err != nil {
					t.Fatalf("round trip %d: %v", i, err)
				}
			}
			_ = s.Close()
			again, tookAgain := c.real()
			_ = again.Close()
			c.must(max(took, tookAgain))
		})
	}
}

// floodKinds are what a client sends over and over.
var floodKinds = map[string][]byte{
	"verbs":          everyVerb(),
	"the same verb":  telnet.AppendVerb(nil, telnet.DO, 200),
	"BINARY turned":  telnet.AppendVerb(telnet.AppendVerb(nil, telnet.WILL, 0), telnet.WONT, 0),
	"marks":          telnet.AppendVerb(nil, telnet.DO, telnet.TimingMark),
	"signatures":     telnet.AppendSub(nil, telnet.ComPort, []byte{0}),
	"baud rates":     append(telnet.AppendSub(nil, telnet.ComPort, []byte{1, 0, 0, 0x25, 0x80}), telnet.AppendSub(nil, telnet.ComPort, []byte{1, 0, 0, 0x4b, 0})...),
	"lines":          append(telnet.AppendSub(nil, telnet.ComPort, []byte{5, 8}), telnet.AppendSub(nil, telnet.ComPort, []byte{5, 9})...),
	"suspend":        append(telnet.AppendSub(nil, telnet.ComPort, []byte{8}), telnet.AppendSub(nil, telnet.ComPort, []byte{9})...),
	"purges":         telnet.AppendSub(nil, telnet.ComPort, []byte{12, 3}),
	"unknown":        telnet.AppendSub(nil, 24, []byte("xterm")),
	"long":           telnet.AppendSub(nil, telnet.ComPort, bytes.Repeat([]byte{0x61}, 1000)),
	"NOP":            {255, 241},
	"text":           []byte("and so it goes on and on\r\n"),
	"one in another": {255, 250, 44, 0, 'a', 'b'},
}

func everyVerb() (p []byte) {
	for o := range 256 {
		if telnet.Option(o) != telnet.ComPort {
			p = telnet.AppendVerb(telnet.AppendVerb(p, telnet.WILL, telnet.Option(o)), telnet.DO, telnet.Option(o))
		}
	}
	return p
}

// Floods from the client that owns the device: it may be disconnected or not, and after it the next client has the device.
func TestServeFloodedByItsOwner(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 10 s")
	}
	for name, p := range floodKinds {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reads %v", name, reads), func(t *testing.T) {
				if name == "text" {
					t.Parallel() // the next one waits for the last bytes of the one before
				}
				c := newCrowd(t, 0)
				done := make(chan string, 1)
				c.come(1, c.floods(p, reads, done))
				t.Log(<-done)
				c.memory()
				c.leave()
				s, took := c.real()
				_ = s.Close()
				c.must(took)
			})
		}
	}
}

// Floods from clients that do not own the device do not disturb the one that does.
func TestServeFloodedByOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 10 s")
	}
	for _, watchers := range []int{0, 8} {
		t.Run(fmt.Sprintf("%d may watch", watchers), func(t *testing.T) {
			c := newCrowd(t, watchers)
			s, took := c.real()
			done := make(chan string, 2*len(floodKinds))
			for _, p := range floodKinds {
				c.come(1, c.floods(p, false, done))
				c.come(1, c.floods(p, true, done))
			}
			trips := 0
			for left, began := 2*len(floodKinds), time.Now(); left > 0 || time.Since(began) < waitMost; trips++ {
				if err := trip(s, fmt.Sprint("through it all ", trips)); err != nil {
					t.Fatalf("round trip %d: %v", trips, err)
				}
				select {
				case <-done:
					left--
				default:
				}
			}
			_ = s.Close()
			again, tookAgain := c.real()
			_ = again.Close()
			t.Logf("%d round trips", trips)
			c.must(max(took, tookAgain))
		})
	}
}
