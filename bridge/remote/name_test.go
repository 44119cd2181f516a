package remote_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/probe"
	"telnetcpc/bridge/remote"
)

// enough is how long these tests wait for something that must happen.
const enough = 30 * time.Second

// DNS response codes (RFC 1035, 4.1.1, RCODE).
const (
	serverFailure = 2
	nameError     = 3
	refused       = 5
)

// nameServer makes this process look up names at a server that answers every query with a code; below 0, it does not
// answer. Queries are encoded as over TCP (RFC 1035, 4.2.2), through a pipe, because Wine has no UDP.
func nameServer(t *testing.T, code int) {
	t.Helper()
	var mu sync.Mutex
	var all []net.Conn
	var answering sync.WaitGroup
	over := false
	t.Cleanup(func() { // a resolver goes on after its caller has given up
		mu.Lock()
		over = true
		for _, conn := range all {
			_ = conn.Close()
		}
		mu.Unlock()
		answering.Wait()
	})
	resolveBy(t, func(context.Context) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return nil, net.ErrClosed
		}
		near, far := net.Pipe()
		all = append(all, far)
		answering.Go(func() { answerNames(far, code) }) // ends with its end of the pipe
		return near, nil
	})
}

// answerNames answers a resolver's queries until its end is closed.
func answerNames(far net.Conn, code int) {
	defer far.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(far, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(far, query); err != nil {
			return
		}
		if code >= 0 {
			answer := answerTo(query, byte(code))
			_, _ = far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
		}
	}
}

// answerTo returns an answer that contains nothing but the question and a code (RFC 1035, 4.1).
func answerTo(query []byte, code byte) []byte {
	const header = 12
	end := header
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	answer := bytes.Clone(query[:end+1+2+2]) // the name's end, its type and class
	answer[2] |= 0x80                        // QR
	answer[3] = 0x80 | code                  // RA
	answer[11] = 0                           // no additional record
	return answer
}

// resolveBy makes this process look up names through the connections that dial makes.
func resolveBy(t *testing.T, dial func(context.Context) (net.Conn, error)) {
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	t.Cleanup(func() { net.DefaultResolver = was })
}

// A name server that is down is not a name that is spelt wrong: Dial and a probe report the same.
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
		{"it does not answer", func(t *testing.T) { nameServer(t, -1) }, 200 * time.Millisecond, `host "moxa.test." cannot be looked up: the name server does not answer (is the network up?)`},
		{"no name server", func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := l.Addr().String()
			_ = l.Close()
			resolveBy(t, func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) })
		}, enough, `host "moxa.test." cannot be looked up now: `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.start(t)
			r, err := remote.New(remote.URL{Scheme: remote.SchemeRFC2217, Host: "moxa.test.", Port: "3696"}, remote.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			_, dialed := r.Dial(ctx, 0)
			_, probed := probe.Run(t.Context(), r, probe.Options{Timeout: tt.within})
			for _, err := range []error{dialed, probed} {
				if err == nil || !strings.HasPrefix(err.Error(), "dial moxa.test.:3696: "+tt.want) {
					t.Errorf("got %v\nwant dial moxa.test.:3696: %s", err, tt.want)
				}
			}
		})
	}
	if got := remote.NameTrouble(errors.New("another"), "moxa"); got != "" {
		t.Errorf("got %q for an error that is no failed lookup", got)
	}
}
