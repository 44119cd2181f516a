package rfc2217_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

var update = flag.Bool("update", false, "write the golden files again")

// trace is a recorded conversation: what the server sent on one connection.
type trace struct {
	name   string // server/phase, and #n where there is more than one connection
	server []byte
	subs   [][]byte // the COM-PORT-OPTION subnegotiations in it
}

// traces reads the recordings of testdata/trace, sorted by name.
func traces(t testing.TB) []trace {
	t.Helper()
	files, err := filepath.Glob("testdata/trace/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	var all []trace
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "testdata/trace/"), ".txt")
		var server []byte
		n := 0
		end := func() {
			if len(server) > 0 {
				n++
				all = append(all, trace{name: fmt.Sprintf("%s#%d", base, n), server: server, subs: subs(server)})
				server = nil
			}
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "< "):
				server = append(server, unhex(t, line[2:])...)
			case strings.HasPrefix(line, "! "):
				end()
			}
		}
		end()
	}
	return all
}

func subs(p []byte) (all [][]byte) {
	var d telnet.Decoder
	for p = bytes.Clone(p); len(p) > 0; {
		var m telnet.Message
		if _, m, p = d.Decode(p); m.Command == telnet.SB && m.Option == telnet.ComPort {
			all = append(all, bytes.Clone(m.Sub))
		}
	}
	return all
}

// answering is what a server sent, with the answer to our opening's mark after its agreement: it was not sent a mark when it was
// recorded.
func answering(server []byte) []byte {
	at := len(server)
	for _, verb := range []telnet.Command{telnet.DO, telnet.WILL} {
		agrees := telnet.AppendVerb(nil, verb, telnet.ComPort)
		if i := bytes.Index(server, agrees); i >= 0 {
			at = min(at, i+len(agrees))
		}
	}
	return slices.Concat(server[:at], telnet.AppendVerb(nil, telnet.WONT, telnet.TimingMark), server[at:])
}

// replay plays what a server sent to a Client with these quirks, cut as cuts says (nil: in one piece), and
// writes what the Client made of it: what it sent, the events and the data, adjacent data joined.
func replay(t *testing.T, server []byte, quirks rfc2217.Quirks, cuts []int) string {
	t.Helper()
	var out strings.Builder
	synctest.Test(t, func(*testing.T) {
		conn, far := wirePair()
		conn.in.cuts = cuts
		_, _ = far.Write(server)
		far.out.mu.Lock()
		far.out.closed = true // then EOF
		far.out.mu.Unlock()
		c, err := rfc2217.Open(context.Background(), conn, rfc2217.Config{Quirks: quirks, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			fmt.Fprintf(&out, "not opened: %v\n", err)
			_ = conn.Close()
			return
		}
		var data []byte
		flush := func() {
			if len(data) > 0 {
				fmt.Fprintf(&out, "data %d %.32x\n", len(data), data)
				data = nil
			}
		}
		for {
			p, e, err := c.Next()
			data = append(data, p...)
			if err != nil {
				flush()
				fmt.Fprintf(&out, "end: %v\n", err)
				break
			}
			if e.Kind != uart.KindData {
				flush()
				fmt.Fprintln(&out, e)
			}
		}
		synctest.Wait() // what is queued has been sent
		fmt.Fprintf(&out, "said: %s\n", verbs(far.taken()))
		_ = c.Close()
	})
	return out.String()
}

// TestTraces: every recorded server gives the events and answers of the golden file, whatever the read boundaries.
func TestTraces(t *testing.T) {
	golden := filepath.Join("testdata", "events.golden")
	var got strings.Builder
	for _, tr := range traces(t) {
		server := answering(tr.server)
		ones := make([]int, len(server))
		for i := range ones {
			ones[i] = 1
		}
		r := rand.New(rand.NewPCG(uint64(len(tr.server)), 1))
		for _, quirks := range []rfc2217.Quirks{rfc2217.KeepGreeting, 0} {
			want := replay(t, server, quirks, nil)
			if quirks == rfc2217.KeepGreeting {
				fmt.Fprintf(&got, "== %s\n%s", tr.name, want)
			}
			if again := replay(t, server, quirks, ones); again != want {
				t.Errorf("%s, byte by byte: got\n%s\nwant\n%s", tr.name, again, want)
			}
			for range 8 {
				cuts := make([]int, len(server))
				for i := range cuts {
					cuts[i] = 1 + r.IntN(1+r.IntN(24))
				}
				if again := replay(t, server, quirks, cuts); again != want {
					t.Errorf("%s, cut %v: got\n%s\nwant\n%s", tr.name, cuts[:min(len(cuts), 20)], again, want)
				}
			}
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the events differ from %s; -update writes it again, and git diff shows what changed", golden)
	}
}

// fuzzLimit keeps the answers to a server below clientOwes: above, the session ends, and when depends on the scheduler.
const fuzzLimit = 1024

// FuzzClient: whatever a server sends, the Client returns the same whatever the pieces, ends with an error, and sends at most
// one answer for each verb beside its own requests.
func FuzzClient(f *testing.F) {
	for _, tr := range traces(f) {
		if strings.Contains(tr.name, "nego") || strings.Contains(tr.name, "ctl") {
			f.Add(tr.server[:min(len(tr.server), fuzzLimit)], uint16(7))
		}
	}
	f.Fuzz(func(t *testing.T, server []byte, cut uint16) {
		if len(server) > fuzzLimit {
			return
		}
		var quirks rfc2217.Quirks
		if cut%2 == 0 {
			quirks = rfc2217.KeepGreeting
		}
		whole := replay(t, server, quirks, nil)
		cuts := []int{}
		for n := 0; n < len(server); n += 1 + int(cut%61) {
			cuts = append(cuts, 1+int(cut%61))
		}
		if parts := replay(t, server, quirks, cuts); parts != whole {
			t.Errorf("cut every %d: got\n%s\nwant\n%s", 1+cut%61, parts, whole)
		}
		said := whole[strings.LastIndex(whole, "\n"+"said: ")+1:]
		received := 0
		var d telnet.Decoder
		for p := bytes.Clone(server); len(p) > 0; {
			var m telnet.Message
			if _, m, p = d.Decode(p); m.Command == telnet.SB || m.Command.Verb() {
				received++
			}
		}
		const own = 1 + 4 + 1 // WILL COM-PORT; WILL and DO of BINARY and SGA; DO TIMING-MARK
		if n := strings.Count(said, ", ") + 1; n > received+own+1 {
			t.Errorf("%d sent for %d received: %s", n, received, said)
		}
	})
}
