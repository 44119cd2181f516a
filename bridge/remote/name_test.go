package remote

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// What DNS answers with (RFC 1035, 4.1.1, RCODE).
const (
	serverFailure = 2
	nameError     = 3
	refused       = 5
)

// nameServer has the names of this process looked up at a server that answers everything with this code; below 0 it
// says nothing.
func nameServer(t *testing.T, code int) {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asIt(t, l.LocalAddr().String())
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			if code < 0 || n < 12 {
				continue
			}
			buf[2], buf[3] = buf[2]|0x80, 0x80|byte(code)
			buf[11] = 0 // no additional record
			end := 12
			for end < n && buf[end] != 0 {
				end += 1 + int(buf[end])
			}
			_, _ = l.WriteTo(buf[:min(n, end+5)], from)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
}

// asIt has names looked up at this address.
func asIt(t *testing.T, address string) {
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", address)
	}}
	t.Cleanup(func() { net.DefaultResolver = was })
}

// A name server that is down is not a name that is spelt wrong, in Dial and in Probe.
func TestNameTrouble(t *testing.T) {
	for _, tt := range []struct {
		name   string
		start  func(t *testing.T)
		within time.Duration
		want   string
	}{
		{"no such name", func(t *testing.T) { nameServer(t, nameError) }, enough, `unknown host "moxa.test." (is the name spelt right?)`},
		{"it fails", func(t *testing.T) { nameServer(t, serverFailure) }, enough, `host "moxa.test." cannot be looked up now: `},
		{"it refuses", func(t *testing.T) { nameServer(t, refused) }, enough, `host "moxa.test." cannot be looked up: server misbehaving (`},
		{"it is silent", func(t *testing.T) { nameServer(t, -1) }, 200 * time.Millisecond, `host "moxa.test." cannot be looked up: the name server does not answer (is the network up?)`},
		{"nobody there", func(t *testing.T) {
			l, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			asIt(t, l.LocalAddr().String())
			_ = l.Close()
		}, enough, `host "moxa.test." cannot be looked up now: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.start(t)
			r, err := New(URL{SchemeRFC2217, "moxa.test.", "3696"}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			_, dialed := r.Dial(ctx, 0)
			_, probed := r.Probe(t.Context(), ProbeOptions{Timeout: tt.within})
			for _, err := range []error{dialed, probed} {
				if err == nil || !strings.HasPrefix(err.Error(), "dial moxa.test.:3696: "+tt.want) {
					t.Errorf("got %v\nwant dial moxa.test.:3696: %s", err, tt.want)
				}
			}
		})
	}
	if got := NameTrouble(errors.New("another"), "moxa"); got != "" {
		t.Errorf("got %q for what is no trouble with a name", got)
	}
}
