package rfc2217_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"telnetcpc/bridge/rfc2217"
)

// sink is a connection to a server that agrees, then sends the same bytes again and again and reads everything. Its calls cost
// nothing, so a benchmark shows the codec alone.
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
	c, err := rfc2217.Open(b.Context(), &sink{in: p}, rfc2217.Config{Quirks: rfc2217.KeepGreeting}) // otherwise the first write waits for an answer
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

// answerer is a connection to a server that reads everything and answers each mark.
type answerer struct {
	net.Conn
	agreed  bool
	marks   chan struct{}
	written int
	inWrite func() // called while a write is under way
}

func (a *answerer) Read(p []byte) (int, error) {
	if !a.agreed {
		a.agreed = true
		return copy(p, "\xff\xfb\x03\xff\xfd\x2c\xff\xfc\x06"), nil
	}
	<-a.marks
	return copy(p, "\xff\xfc\x06"), nil
}

func (a *answerer) Write(p []byte) (int, error) {
	if a.inWrite != nil && len(p) > 3 {
		a.inWrite()
	}
	a.written += len(p)
	if bytes.HasSuffix(p, []byte("\xff\xfd\x06")) {
		a.marks <- struct{}{}
	}
	return len(p), nil
}

func (a *answerer) SetDeadline(time.Time) error     { return nil }
func (a *answerer) SetReadDeadline(time.Time) error { return nil }

// BenchmarkClientMark is the cost of a mark beside a write of 4 KiB, requested and answered once a write, in each of the ways
// in which it can be sent. The socket costs nothing here: a mark after a write under way takes one more call of it, a mark
// with the next write takes none.
func BenchmarkClientMark(b *testing.B) {
	p := bytes.Repeat([]byte("0123456789abcdef"), 256)
	for _, how := range []string{"none", "alone", "ahead of a write", "inside a write"} {
		b.Run(how, func(b *testing.B) {
			conn := &answerer{marks: make(chan struct{}, 2)}
			c, err := rfc2217.Open(b.Context(), conn, rfc2217.Config{Quirks: rfc2217.KeepGreeting})
			if err != nil {
				b.Fatal(err)
			}
			<-conn.marks // the opening's
			mark := func() {
				if !c.Mark() {
					b.Fatal("no mark under way")
				}
			}
			if how == "inside a write" {
				conn.inWrite = mark
			}
			before := conn.written
			b.ReportAllocs()
			for b.Loop() {
				if how == "ahead of a write" {
					mark()
				}
				if _, err := c.Write(p); err != nil {
					b.Fatal(err)
				}
				if how == "alone" {
					mark()
				}
				if how != "none" {
					if _, _, err := c.Next(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(conn.written-before)/float64(b.N)-float64(len(p)), "bytes/mark")
		})
	}
}
