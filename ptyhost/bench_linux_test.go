package ptyhost_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost"
)

// bench is a port, everything that Next has returned, and what was logged.
type bench struct {
	*testing.T
	port uart.Port
	path string
	log  *strings.Builder // to be read after the port is closed

	mu     sync.Mutex
	more   sync.Cond
	items  []item // not taken yet
	ended  error
	closes int // reported by Urgent
}

// item is one result of Next.
type item struct {
	data  string
	event uart.Event
}

func (i item) String() string {
	if i.event.Kind == uart.KindData {
		return fmt.Sprintf("data %.40q", i.data)
	}
	return i.event.String()
}

// newBench makes a port whose Next is called by the test alone.
func newBench(t *testing.T, change ...func(*uart.PortConfig)) *bench {
	t.Helper()
	b := &bench{T: t, path: filepath.Join(t.TempDir(), "ttyV0"), log: new(strings.Builder)}
	b.more.L = &b.mu
	config := uart.PortConfig{Path: b.path, Log: slog.New(slog.NewTextHandler(b.log, nil)), Urgent: b.urgent}
	for _, f := range change {
		f(&config)
	}
	b.path = config.Path
	port, err := ptyhost.New().Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	b.port = port
	over := time.AfterFunc(testenv.Patience, func() { _ = port.Close() })
	t.Cleanup(func() {
		if !over.Stop() {
			t.Errorf("the test waits for something that did not come within %v", testenv.Patience)
		}
		if err := port.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// listening makes a port whose Next is called all the time; take takes what it has returned.
func listening(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			p, e, err := b.port.Next()
			b.mu.Lock()
			if err != nil {
				b.ended = err
			} else {
				b.items = append(b.items, item{string(p), e})
			}
			b.more.Broadcast()
			b.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = b.port.Close(); <-done })
	return b
}

func (b *bench) urgent(e uart.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Kind == uart.KindClosed {
		b.closes++
	}
}

// take returns the oldest item that was not taken, and waits for one.
func (b *bench) take() item {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.items) == 0 && b.ended == nil {
		b.more.Wait()
	}
	if len(b.items) == 0 {
		b.Fatalf("next: %v", b.ended)
	}
	first := b.items[0]
	b.items = b.items[1:]
	return first
}

// left returns the items that were not taken.
func (b *bench) left() []item {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.items
}

// want takes items until one of the kind comes, and returns it with the bytes before it.
func (b *bench) want(kind uart.Kind) (uart.Event, string) {
	b.Helper()
	var data bytes.Buffer
	for {
		i := b.take()
		switch i.event.Kind {
		case kind:
			return i.event, data.String()
		case uart.KindData:
			data.WriteString(i.data)
		default:
			b.Fatalf("next: got %v, want %v", i, kind)
		}
	}
}

// bytes takes items until all of want has come.
func (b *bench) bytes(want string) {
	b.Helper()
	for want != "" {
		i := b.take()
		if i.event.Kind != uart.KindData || !strings.HasPrefix(want, i.data) {
			b.Fatalf("next: got %v, want data %.40q", i, want)
		}
		want = want[len(i.data):]
	}
}

// program opens the port, and takes the open event.
func (b *bench) program() *uarttest.TTYProgram {
	b.Helper()
	p := b.another()
	b.want(uart.KindOpened)
	return p
}

// another opens the port without taking an event.
func (b *bench) another() *uarttest.TTYProgram {
	b.Helper()
	p, err := uarttest.OpenTTY(b.path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	return p
}

// set changes the termios as a program does.
func (b *bench) set(p *uarttest.TTYProgram, change func(*unix.Termios)) {
	b.Helper()
	if err := p.Termios(change); err != nil {
		b.Fatal(err)
	}
}

// writes writes as a program does.
func (b *bench) writes(p *uarttest.TTYProgram, s string) {
	b.Helper()
	if _, err := p.Write([]byte(s)); err != nil {
		b.Fatal(err)
	}
}

func baud(n uint32) func(*unix.Termios) {
	return func(t *unix.Termios) {
		t.Cflag = t.Cflag&^unix.CBAUD | unix.BOTHER
		t.Ispeed, t.Ospeed = n, n
	}
}

// openDescriptors counts the entries of /proc/self/fd, by kind.
func openDescriptors(t *testing.T) map[string]int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, d := range all {
		if to, err := os.Readlink("/proc/self/fd/" + d.Name()); err == nil {
			count["all"]++
			if kind, _, ok := strings.Cut(to, ":"); ok && strings.HasPrefix(to, "anon_inode") {
				count[kind+":"+to[len(kind)+1:]]++
			}
		}
	}
	return count
}

// eventually polls for a condition that no event announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testenv.Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, testenv.Patience)
		}
	}
}
