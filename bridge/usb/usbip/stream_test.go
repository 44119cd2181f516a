package usbip_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/usb/usbip"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var table = usbip.Table{
	Vendor: 0x1209, Product: 0x0001, Release: 0x0800, Manufacturer: "maker", Name: "näme", Serial: "ttyV0",
	Endpoints: []usbip.Endpoint{{Address: 0x81, MaxPacket: 512}, {Address: 0x02, MaxPacket: 512}},
}

// loop is a device that sends back its bytes: OUT transfers are held until an IN transfer takes their bytes.
type loop struct {
	mu      sync.Mutex
	in      []*usbip.Transfer
	out     []held
	unlinks []bool // the argument pending of each call
	wait    bool   // vendor requests are not answered
	waiting []*usbip.Transfer
}

type held struct {
	t    *usbip.Transfer
	data []byte
}

func (l *loop) Control(t *usbip.Transfer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.wait:
		l.waiting = append(l.waiting, t)
	case t.Setup.Request == 7 && t.In:
		t.Answer(bytes.Repeat([]byte{7}, 100))
	case t.Setup.Request == 8 && !t.In:
		l.out = append(l.out, held{nil, bytes.Clone(t.Data)})
		t.Answer(nil)
	default:
		t.Stall()
	}
}

func (l *loop) Out(t *usbip.Transfer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = append(l.out, held{t, bytes.Clone(t.Data)})
	l.move()
}

func (l *loop) In(t *usbip.Transfer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = append(l.in, t)
	l.move()
}

func (l *loop) move() {
	for len(l.in) > 0 && len(l.out) > 0 {
		t, o := l.in[0], l.out[0]
		l.in = l.in[1:]
		if t.Answer(o.data) {
			l.out = l.out[1:]
			if o.t != nil {
				o.t.Answer(nil)
			}
		}
	}
}

func (l *loop) Unlinked(t *usbip.Transfer, pending bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlinks = append(l.unlinks, pending)
}

// plugIn serves a device on a pipe until the test ends, and wants Serve to return nil.
func plugIn(t *testing.T, d usbip.Device) *usbiptest.Host {
	t.Helper()
	h, served := serve(d)
	over := time.AfterFunc(testenv.Patience, h.Close)
	t.Cleanup(func() {
		if !over.Stop() {
			t.Errorf("something did not come within %v", testenv.Patience)
		}
		h.Close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

func serve(d usbip.Device) (*usbiptest.Host, <-chan error) {
	host, dev := net.Pipe()
	served := make(chan error, 1)
	s := usbip.New(dev, table, d)
	go func() { served <- s.Serve() }()
	return usbiptest.New(host), served
}

func in(room int) *usbiptest.URB { return &usbiptest.URB{Endpoint: 1, In: true, Room: room} }

func out(s string) *usbiptest.URB { return &usbiptest.URB{Endpoint: 2, Data: []byte(s)} }

// TestSeveralPending: transfers of one endpoint are answered in the order in which they came.
func TestSeveralPending(t *testing.T) {
	h := plugIn(t, &loop{})
	ins := []*usbiptest.URB{in(512), in(512), in(512)}
	for _, u := range ins {
		h.Submit(u)
	}
	outs := []*usbiptest.URB{out("one"), out("two"), out("three"), out("four")}
	for _, u := range outs {
		h.Submit(u)
	}
	for i, u := range ins {
		u.Wait()
		outs[i].Wait()
		if string(u.Data) != string(outs[i].Data) || u.Status != 0 || outs[i].Status != 0 {
			t.Errorf("transfer %d: got %q, status %d and %d", i, u.Data, u.Status, outs[i].Status)
		}
	}
	if outs[3].IsDone() {
		t.Error("a transfer that the device holds was answered")
	}
	last := in(2)
	h.Submit(last)
	last.Wait()
	outs[3].Wait()
	if string(last.Data) != "fo" {
		t.Errorf("a short transfer: got %q, want fo", last.Data)
	}
}

// TestUnlink: an unlinked pending transfer is never answered; an answered one keeps its answer.
func TestUnlink(t *testing.T) {
	d := &loop{}
	h := plugIn(t, d)
	first, second := in(512), in(512)
	h.Submit(first)
	h.Submit(second)
	h.Unlink(first)
	first.Wait()
	if first.Status != usbiptest.StatusUnlinked {
		t.Errorf("pending: got status %d", first.Status)
	}
	h.Submit(out("x"))
	second.Wait()
	if string(second.Data) != "x" {
		t.Errorf("the next in line: got %q, want x", second.Data)
	}
	h.Unlink(second) // too late, twice
	h.Unlink(second)
	h.Unlink(&usbiptest.URB{}) // unknown
	if _, status := h.Control(usbip.Setup{Type: 0x80, Request: 0, Length: 2}, nil); status != 0 {
		t.Errorf("the stream after unlinks: got status %d", status)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.unlinks) != 3 || !d.unlinks[0] || d.unlinks[1] || d.unlinks[2] {
		t.Errorf("Unlinked was called with %v, want true, false, false", d.unlinks)
	}
}

// TestControlUnlinked: a request that the device answers after it was unlinked is not answered.
func TestControlUnlinked(t *testing.T) {
	d := &loop{wait: true}
	h := plugIn(t, d)
	u := &usbiptest.URB{Setup: usbip.Setup{Type: 0x40, Request: 1}}
	h.Submit(u)
	h.Unlink(u)
	u.Wait()
	d.mu.Lock()
	late := d.waiting[0]
	d.mu.Unlock()
	if u.Status != usbiptest.StatusUnlinked || late.Answer(nil) || late.Stall() {
		t.Errorf("status %d, or the late answer was accepted", u.Status)
	}
}

// TestUnlinkStorm: transfers are submitted and unlinked at once while others are answered; the host checks every answer
// against its pending transfers. No byte is lost.
func TestUnlinkStorm(t *testing.T) {
	h := plugIn(t, &loop{})
	var want, got []byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 1000 {
			u := out(string([]byte{byte(i), byte(i >> 8)}))
			want = append(want, u.Data...)
			h.Submit(u)
			u.Wait()
		}
	}()
	taken := 0
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		batch := []*usbiptest.URB{in(64), in(64), in(64)}
		for _, u := range batch {
			h.Submit(u)
		}
		for _, u := range batch {
			h.Unlink(u)
		}
		for _, u := range batch {
			u.Wait()
			got = append(got, u.Data...)
			if u.Status == usbiptest.StatusUnlinked {
				taken++
			}
		}
	}
	if err := h.Err(); err != nil {
		t.Fatalf("the host: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, which differ from the %d sent", len(got), len(want))
	}
	t.Logf("%d transfers were unlinked", taken)
}

// TestClose: Close unplugs the device; transfers cannot be answered any more, and Serve returns.
func TestClose(t *testing.T) {
	host, dev := net.Pipe()
	d := &loop{}
	s := usbip.New(dev, table, d)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	h := usbiptest.New(host)
	pending := in(512)
	h.Submit(pending)
	if _, status := h.Control(usbip.Setup{Type: 0x80, Length: 2}, nil); status != 0 {
		t.Fatalf("status %d", status)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	pending.Wait()
	if d.in[0].Answer([]byte("late")) || !errors.Is(h.Err(), usbiptest.ErrUnplugged) {
		t.Errorf("a transfer was answered after the end, or the host ended with %v", h.Err())
	}
	s.Flush()
	s.FlushSoon()
	h.Close()
}

// TestBrokenHost: a host that breaks the protocol or a limit ends the stream with a reason, before it uses memory.
func TestBrokenHost(t *testing.T) {
	submit := func(seq, direction, endpoint, length uint32) []byte {
		b := usbiptest.Header(1, seq, direction, endpoint)
		b[24], b[25], b[26], b[27] = byte(length>>24), byte(length>>16), byte(length>>8), byte(length)
		return b
	}
	repeat := func(n int, f func(i uint32) []byte) (b []byte) {
		for i := range n {
			b = append(b, f(uint32(i))...)
		}
		return b
	}
	iso := submit(1, 1, 1, 8)
	iso[35] = 4
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  error // nil: the stream ends in order
	}{
		{"nothing", nil, nil},
		{"unknown command", usbiptest.Header(5, 1, 0, 0), usbip.ErrProtocol},
		{"an answer", usbiptest.Header(3, 1, 0, 0), usbip.ErrProtocol},
		{"direction", submit(1, 2, 1, 8), usbip.ErrProtocol},
		{"endpoint", submit(1, 1, 16, 8), usbip.ErrProtocol},
		{"length", submit(1, 0, 2, 1<<31), usbip.ErrProtocol},
		{"isochronous", iso, usbip.ErrProtocol},
		{"same number twice", repeat(2, func(uint32) []byte { return submit(1, 1, 1, 8) }), usbip.ErrProtocol},
		{"too many", repeat(300, func(i uint32) []byte { return submit(i, 1, 1, 8) }), usbip.ErrProtocol},
		{"too much", repeat(20, func(i uint32) []byte { return submit(i, 1, 1, 64<<10) }), usbip.ErrProtocol},
		{"half a header", make([]byte, 20), io.ErrUnexpectedEOF},
		{"half of the data", append(submit(1, 0, 2, 8), 1, 2, 3), io.ErrUnexpectedEOF},
		{"none of the data", submit(1, 0, 2, 8), io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := usbip.New(&script{Reader: bytes.NewReader(tt.bytes)}, table, &loop{}).Serve()
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// script is a connection whose host sends something and hangs up.
type script struct {
	io.Reader
	bytes.Buffer // what the device writes
}

func (s *script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error) { return s.Buffer.Write(p) }
func (s *script) Close() error                { return nil }

// TestWriteFails: a failed write ends the stream with its error.
func TestWriteFails(t *testing.T) {
	host, dev := net.Pipe()
	want := errors.New("no more")
	s := usbip.New(&deaf{Conn: dev, err: want}, table, &loop{})
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	h := usbiptest.New(host)
	h.Submit(&usbiptest.URB{In: true, Room: 2, Setup: usbip.Setup{Type: 0x80, Length: 2}})
	if err := <-served; !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	h.Close()
}

type deaf struct {
	net.Conn
	err error
}

func (d *deaf) Write([]byte) (int, error) { return 0, d.err }

// TestIdleStreamIsSmall: a stream that once had large answers keeps little memory: there may be a thousand idle ones.
func TestIdleStreamIsSmall(t *testing.T) {
	d := &loop{}
	h := plugIn(t, d)
	large, answer := out(strings.Repeat("x", 64<<10)), in(64<<10)
	h.Submit(large)
	h.Submit(answer)
	answer.Wait()
	large.Wait()
	u := in(1)
	h.Submit(u)
	h.Control(usbip.Setup{Type: 0xc0, Request: 7, Length: 100}, nil) // the transfer before it has arrived, and everything is written
	d.mu.Lock()
	s := d.in[0].Stream()
	d.mu.Unlock()
	for end := time.Now().Add(testenv.Patience); s.Kept() > 32<<10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("an idle stream keeps %d bytes", s.Kept())
		}
	}
}
