package rfc2217_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"telnetcpc/bridge/rfc2217"
)

// sink is a connection to a server that agrees, then sends the same over and over and takes everything. It stands for a
// socket that costs nothing, so that a benchmark shows the codec.
type sink struct {
	net.Conn
	in     []byte
	agreed bool
}

func (s *sink) Read(p []byte) (int, error) {
	if !s.agreed {
		s.agreed = true
		return copy(p, "\xff\xfd\x2c"), nil
	}
	return copy(p, s.in), nil
}

func (s *sink) Write(p []byte) (int, error)     { return len(p), nil }
func (s *sink) SetDeadline(time.Time) error     { return nil }
func (s *sink) SetReadDeadline(time.Time) error { return nil }

func benchmarkClient(b *testing.B, p []byte, f func(c *rfc2217.Client) error) {
	c, err := rfc2217.Open(b.Context(), &sink{in: p}, rfc2217.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := f(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClientWrite(b *testing.B) {
	for name, p := range map[string][]byte{"text": bytes.Repeat([]byte("0123456789abcdef"), 256), "0xFF": bytes.Repeat([]byte{0xff}, 4096)} {
		b.Run(name, func(b *testing.B) {
			benchmarkClient(b, p, func(c *rfc2217.Client) error {
				_, err := c.Write(p)
				return err
			})
		})
	}
}

func BenchmarkClientNext(b *testing.B) {
	for name, p := range map[string][]byte{"text": bytes.Repeat([]byte("0123456789abcdef"), 256), "0xFF": bytes.Repeat([]byte{0xff}, 4096)} {
		b.Run(name, func(b *testing.B) {
			benchmarkClient(b, p, func(c *rfc2217.Client) error {
				_, _, err := c.Next()
				return err
			})
		})
	}
}
