package tlsconn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// serverTLS is a server's configuration, with a certificate that the client does not know.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.TLS
}

// pipe is one end of a connection without buffers: a write waits until the peer reads. It represents a peer that has closed
// its window.
type pipe struct {
	net.Conn
	fin  chan struct{} // closed by CloseWrite
	once sync.Once
}

func (p *pipe) CloseWrite() error {
	p.once.Do(func() { close(p.fin) })
	return nil
}

// shaken returns a TLS connection over a pipe, and the server's end of it, which reads and writes only when the test does.
func shaken(t *testing.T, config *tls.Config) (near *Conn, far *tls.Conn, fin chan struct{}) {
	t.Helper()
	left, right := net.Pipe()
	p := &pipe{Conn: left, fin: make(chan struct{})}
	config = config.Clone()
	config.SessionTicketsDisabled = true // they would wait for a reader
	far = tls.Server(right, config)
	done := make(chan error, 1)
	go func() { done <- far.Handshake() }()
	near = Client(p, &tls.Config{InsecureSkipVerify: true})
	if err := near.HandshakeContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return near, far, p.fin
}

// reading reads one byte and sends the result.
func reading(conn net.Conn) chan error {
	result := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		result <- err
	}()
	return result
}

// writing writes one byte and sends the result.
func writing(conn net.Conn) chan error {
	result := make(chan error, 1)
	go func() {
		_, err := conn.Write([]byte("w"))
		result <- err
	}()
	return result
}

// TestCloseAtOnce: if the peer reads nothing, Close does not wait, and ends every call that does.
func TestCloseAtOnce(t *testing.T) {
	config := serverTLS(t)
	for _, tt := range []struct {
		name                  string
		writes, half, resumes bool
	}{
		{name: "during a read"},
		{name: "during a read, and deadlines are set", resumes: true},
		{name: "during a read and a write", writes: true},
		{name: "while close_notify waits for room", half: true},
		{name: "during a write, and close_notify waits for it", writes: true, half: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far, _ := shaken(t, config)
				calls := []chan error{reading(near)}
				if tt.writes {
					calls = append(calls, writing(near))
				}
				synctest.Wait()
				if tt.half {
					if err := near.CloseWrite(); err != nil {
						t.Error(err)
					}
				}
				began := time.Now()
				for range 2 {
					if err := near.Close(); err != nil {
						t.Error(err)
					}
					if tt.resumes {
						_ = near.SetReadDeadline(time.Now().Add(time.Hour))
						_ = near.SetDeadline(time.Time{})
					}
				}
				for _, call := range calls {
					if err := <-call; err == nil || errors.Is(err, io.EOF) {
						t.Errorf("a call ended with %v", err)
					}
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
				if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a read after it: %v, want %v", err, net.ErrClosed)
				}
				if _, err := near.Write([]byte("w")); err == nil {
					t.Error("a write after it succeeds")
				}
				_ = far.NetConn().Close()
			})
		})
	}
}

// TestCloseWrite: close_notify, then FIN, are sent after what is being written; the caller does not wait, and what the peer
// sends can still be read.
func TestCloseWrite(t *testing.T) {
	config := serverTLS(t)
	t.Run("the peer reads", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far, fin := shaken(t, config)
			written := writing(near)
			synctest.Wait()
			for range 2 {
				if err := near.CloseWrite(); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-fin:
				t.Error("FIN is sent before what is being written")
			default:
			}
			got, err := io.ReadAll(far)
			if string(got) != "w" || err != nil {
				t.Errorf("the peer read %q, %v; want all, and the end in order", got, err)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
			<-fin
			answered := writing(far)
			if err := <-reading(near); err != nil {
				t.Errorf("a read after it: %v", err)
			}
			if err := <-answered; err != nil {
				t.Error(err)
			}
			_ = near.Close()
			_ = far.NetConn().Close()
		})
	})
	t.Run("the peer does not read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far, fin := shaken(t, config)
			began := time.Now()
			if err := near.CloseWrite(); err != nil || time.Since(began) != 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			<-fin
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("FIN came after %v", took)
			}
			_ = near.Close()
			_ = far.NetConn().Close()
		})
	})
}
