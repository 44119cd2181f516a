package accessserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// fullDevice is a UART whose transmitter accepts nothing and that has received much. It is lost only after Next has returned all of
// that.
type fullDevice struct {
	left   int           // bytes that Next will still return; only Next's
	empty  chan struct{} // closed when Next has returned all
	lost   chan struct{} // closed by the test
	closed chan struct{}
	once   sync.Once
}

func (d *fullDevice) Next() ([]byte, uart.Event, error) {
	if n := min(d.left, 4096); n > 0 {
		d.left -= n
		return bytes.Repeat([]byte("x"), n), uart.Event{}, nil
	}
	close(d.empty)
	select {
	case <-d.closed:
		return nil, uart.Event{}, uart.ErrClosed
	case <-d.lost:
		return nil, uart.Event{}, errors.New("pulled out")
	}
}

func (d *fullDevice) Write([]byte) (int, error) {
	<-d.closed
	return 0, uart.ErrClosed
}

func (d *fullDevice) Apply(uart.Event) (uart.Event, error) {
	return uart.Event{Coding: uart.DefaultCoding()}, nil
}
func (d *fullDevice) Purge(uart.Purge) error { return nil }
func (d *fullDevice) Modem() uart.ModemState { return 0 }
func (d *fullDevice) Unsent() time.Duration  { return time.Hour }

func (d *fullDevice) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// However a session ends, the client gets what it was sent before, although the server has unread bytes of the client.
func TestClientGetsTheLastBytes(t *testing.T) {
	const size = 200_000
	for _, tt := range []struct {
		name string
		end  func(f *far, d *fullDevice)
	}{
		{"the device is lost", func(_ *far, d *fullDevice) { close(d.lost) }},
		{"the server ends", func(f *far, _ *fullDevice) { go f.end() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t)
			d := &fullDevice{left: size, empty: make(chan struct{}), lost: make(chan struct{}), closed: make(chan struct{})}
			f := (&far{t: t}).start(l, func(context.Context) (uart.Device, error) { return d, nil })
			conn := dialTCP(t, l)().(*net.TCPConn)
			_ = conn.SetReadBuffer(8 << 10)
			_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
			hello := telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)
			if _, err := conn.Write(append(hello, make([]byte, 64<<10)...)); err != nil {
				t.Fatal(err)
			}
			<-d.empty // the rest is on its way
			tt.end(f, d)
			all, err := io.ReadAll(conn)
			if got := bytes.Count(all, []byte("x")); got != size || err != nil {
				t.Errorf("%d bytes of %d arrived, then %v", got, size, err)
			}
			_ = conn.Close()
		})
	}
}
