package telnet_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telnetcpc/bridge/telnet"
)

// seeds adds what real servers sent, in the pieces that were recorded.
func seeds(f *testing.F, add func([]byte)) {
	f.Helper()
	files, err := filepath.Glob("../rfc2217/testdata/trace/*/nego.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no traces: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			if s, ok := strings.CutPrefix(lines.Text(), "< "); ok {
				p, err := hex.DecodeString(s)
				if err != nil {
					f.Fatal(err)
				}
				add(p)
			}
		}
	}
}

// FuzzDecodeCut: a stream decodes the same wherever it is cut.
func FuzzDecodeCut(f *testing.F) {
	seeds(f, func(p []byte) { f.Add(p, uint8(len(p)/2), uint8(len(p)/3), false, false) })
	f.Add([]byte("\xff\xff\xff\xfa\x2c\x00\xff\xff\xff\xf0\r\x00"), uint8(1), uint8(7), true, true)
	f.Fuzz(func(t *testing.T, src []byte, a, b uint8, single, nvt bool) {
		if len(src) > 4*telnet.SubLimit {
			return
		}
		start := telnet.Decoder{SingleFF: single, NVT: nvt}
		whole, parts := start, start
		i := min(int(a), len(src))
		j := min(i+int(b), len(src))
		want := words(&whole, src)
		if got := words(&parts, src[:i], src[i:j], src[j:]); !equal(got, want) {
			t.Errorf("cut at %d and %d: got %q, want %q", i, j, got, want)
		}
	})
}

// FuzzDataRoundTrip: encoded data decodes to the same data and no command.
func FuzzDataRoundTrip(f *testing.F) {
	seeds(f, func(p []byte) { f.Add(p, false) })
	f.Add([]byte("\r\n\r\x00\r\xff\xff"), true)
	f.Fuzz(func(t *testing.T, p []byte, nvt bool) {
		encode := telnet.AppendData
		if nvt {
			encode = telnet.AppendNVT
		}
		d := telnet.Decoder{NVT: nvt}
		data, m, rest := d.Decode(encode(nil, p))
		if !bytes.Equal(data, p) || m.Command != 0 || len(rest) != 0 {
			t.Errorf("got %x, message %v, rest %x; want %x", data, m, rest, p)
		}
		if sub, m, _ := d.Decode(telnet.AppendSub(nil, telnet.ComPort, p)); len(p) <= telnet.SubLimit && (len(sub) != 0 || !bytes.Equal(m.Sub, p)) {
			t.Errorf("as a subnegotiation: got %x, want %x", m.Sub, p)
		}
	})
}

// FuzzOptionsTerminate: a peer gets at most one answer for each verb, so negotiation never loops.
func FuzzOptionsTerminate(f *testing.F) {
	seeds(f, func(p []byte) { f.Add(p, uint8(3)) })
	f.Fuzz(func(t *testing.T, src []byte, asks uint8) {
		o := telnet.Options{AllowUs: only(telnet.SGA), AllowPeer: only(telnet.Binary)}
		var sent []byte
		asked := 0
		for _, opt := range []telnet.Option{telnet.Binary, telnet.SGA, telnet.ComPort} {
			if asks&(1<<opt%8) != 0 {
				before := len(sent)
				sent = o.AskUs(sent, opt, true)
				asked += (len(sent) - before) / 3
			}
		}
		var d telnet.Decoder
		received := 0
		for len(src) > 0 {
			var m telnet.Message
			_, m, src = d.Decode(src)
			if m.Command.Verb() {
				received++
				sent = o.Receive(sent, m.Command, m.Option)
			}
		}
		if answers := len(sent)/3 - asked; answers > received {
			t.Errorf("%d answers to %d verbs", answers, received)
		}
	})
}
