package rfc2217_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/bridge/telnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wirePair is a connection in memory, in place of TCP on loopback. It buffers what is written, so a test needs no goroutine to
// read it; its deadlines are timers, so it works under testing/synctest.
func wirePair() (a, b *end) {
	left, right := newLane(), newLane()
	return &end{in: left, out: right}, &end{in: right, out: left}
}

// lane is one direction.
type lane struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	cuts    []int // the next reads return so many bytes at most
	closed  bool
	until   time.Time // read deadline
	alarm   *time.Timer
	wuntil  time.Time // write deadline
	walarm  *time.Timer
	full    int // 0: no bound
}

func newLane() *lane {
	l := &lane{}
	l.changed.L = &l.mu
	return l
}

type end struct{ in, out *lane }

func (e *end) Read(p []byte) (int, error) {
	l := e.in
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if !l.until.IsZero() && !time.Now().Before(l.until) {
			return 0, os.ErrDeadlineExceeded // even if bytes have arrived, as with a net.Conn
		}
		if len(l.buf) > 0 {
			break
		}
		if l.closed {
			return 0, io.EOF
		}
		l.changed.Wait()
	}
	if len(l.cuts) > 0 {
		p = p[:min(len(p), max(1, l.cuts[0]))]
		l.cuts = l.cuts[1:]
	}
	n := copy(p, l.buf)
	l.buf = l.buf[n:]
	l.changed.Broadcast()
	return n, nil
}

func (e *end) Write(p []byte) (n int, err error) {
	l := e.out
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(p) {
		if l.closed {
			return n, io.ErrClosedPipe
		}
		take := len(p) - n
		if l.full > 0 {
			take = min(take, l.full-len(l.buf))
		}
		if !l.wuntil.IsZero() && !time.Now().Before(l.wuntil) {
			return n, os.ErrDeadlineExceeded
		}
		if take <= 0 {
			l.changed.Wait()
			continue
		}
		l.buf = append(l.buf, p[n:n+take]...)
		n += take
		l.changed.Broadcast()
	}
	return n, nil
}

// CloseWrite closes this half: the other end reads what was written, then EOF.
func (e *end) CloseWrite() error {
	l := e.out
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Broadcast()
	return nil
}

// room bounds how many unread bytes this end buffers; 0: no bound.
func (e *end) room(n int) {
	l := e.in
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = n
	l.changed.Broadcast()
}

func (e *end) Close() error {
	for _, l := range []*lane{e.in, e.out} {
		l.mu.Lock()
		l.closed = true
		l.changed.Broadcast()
		for _, alarm := range []*time.Timer{l.alarm, l.walarm} {
			if alarm != nil {
				alarm.Stop()
			}
		}
		l.mu.Unlock()
	}
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.in.deadline(&e.in.until, &e.in.alarm, t)
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.deadline(&e.out.wuntil, &e.out.walarm, t)
	return nil
}

func (l *lane) deadline(until *time.Time, alarm **time.Timer, t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*until = t
	if *alarm != nil {
		(*alarm).Stop()
	}
	if !t.IsZero() {
		*alarm = time.AfterFunc(max(0, time.Until(t)), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.changed.Broadcast()
		})
	}
	l.changed.Broadcast()
}

func (e *end) SetDeadline(t time.Time) error {
	_ = e.SetWriteDeadline(t)
	return e.SetReadDeadline(t)
}

func (e *end) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (e *end) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// taken removes what was written to this end and not read, and returns it.
func (e *end) taken() []byte {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	p := e.in.buf
	e.in.buf = nil
	e.in.changed.Broadcast()
	return p
}

// send writes hex, blanks allowed, as one piece.
func (e *end) send(t *testing.T, s string) {
	t.Helper()
	if _, err := e.Write(unhex(t, s)); err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verbs formats Telnet bytes as words, data in quotes.
func verbs(p []byte) string {
	var d telnet.Decoder
	var out []string
	p = bytes.Clone(p)
	for len(p) > 0 {
		data, m, rest := d.Decode(p)
		p = rest
		if len(data) > 0 {
			out = append(out, "\""+string(data)+"\"")
		}
		switch {
		case m.Command == telnet.SB:
			out = append(out, "SB "+hex.EncodeToString(m.Sub))
		case m.Command != 0:
			out = append(out, m.Command.String()+" "+m.Option.String())
		}
	}
	return strings.Join(out, ", ")
}
