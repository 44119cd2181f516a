package bridge_test

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// Over real TCP: a server that reads nothing. What the application has written is sent or counted at the shutdown.
func TestCornerTCPEndCountsThePort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}()
	u, err := remote.Parse("tcp://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	rem, err := remote.New(u, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := &logLines{}
	made := make(chan *uarttest.Port, 1)
	b := bridge.New(bridge.Config{Remote: rem, Log: slog.New(slog.NewTextHandler(log, nil)),
		Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
			p := uarttest.NewPort(c)
			made <- p
			return p, nil
		}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	p := <-made
	p.AppOpen()
	var written atomic.Int64
	go func() {
		for range 100 { // a program that keeps writing is given up after a while; the last of its bytes are not counted
			n, err := p.AppWrite(make([]byte, 4096))
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	for last := int64(-1); last != written.Load(); {
		last = written.Load()
		time.Sleep(2 * time.Second)
	}
	began := time.Now()
	cancel()
	<-ended
	t.Logf("the shutdown took %v", time.Since(began))
	got := b.Status()
	if n := int64(got.UpBytes + got.UpDropped); n < written.Load() {
		t.Errorf("written %d, sent %d, dropped %d: %d are missing\n%s", written.Load(), got.UpBytes, got.UpDropped, written.Load()-n, log.String())
	}
}
