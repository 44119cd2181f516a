package probe_test

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"telnetcpc/bridge/probe"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// probeScript probes a scripted server, in fake time, and checks what holds for every server.
func probeScript(t *testing.T, s *script, thorough bool) *probe.Report {
	t.Helper()
	near, far := net.Pipe()
	type seen struct {
		messages []string
		data     []byte
	}
	served := make(chan seen, 1)
	go func() { // ended by the close of the near end
		messages, data := s.serve(far)
		served <- seen{messages, data}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), probe.DefaultTimeout)
	defer cancel()
	report := probe.OnConn(ctx, near, thorough)
	_ = near.Close()
	got := <-served
	harmless(t, got.messages, got.data)
	if !thorough && !speaks(report) {
		for _, m := range got.messages {
			if m == doTM && s.returns(will44) && s.returns(do44) {
				continue // the timing mark distinguishes a server from a loopback plug
			}
			if m != will44 && m != do44 {
				t.Errorf("a server that negotiates nothing but COM-PORT-OPTION was sent %x", m)
			}
		}
	}
	return report
}

const (
	will44 = "\xff\xfb\x2c"
	do44   = "\xff\xfd\x2c"
	doTM   = "\xff\xfd\x06"
)

// queries are all the commands that a probe may send: none of them sets anything.
var queries = map[string]bool{
	"\x01\x00\x00\x00\x00": true, "\x02\x00": true, "\x03\x00": true, "\x04\x00": true,
	"\x05\x00": true, "\x05\x04": true, "\x05\x07": true, "\x05\x0a": true, "\x05\x0d": true,
	"\x00": true, "\x00telnetcpc": true,
}

// harmless checks that nothing was sent that sets a value, drives a line or reaches the device.
func harmless(t *testing.T, messages []string, data []byte) {
	t.Helper()
	if len(data) > 0 {
		t.Errorf("the device was sent %q", data)
	}
	for i, m := range messages {
		if i == 0 && m != will44 {
			t.Errorf("the first message is %x, want WILL COM-PORT", m)
		}
		sub, is := strings.CutPrefix(m, "\xff\xfa\x2c")
		if is && !queries[strings.TrimSuffix(sub, "\xff\xf0")] {
			t.Errorf("the server was sent a command that is no query: %x", m)
		}
	}
}

// speaks reports whether the server has negotiated options other than COM-PORT-OPTION.
func speaks(r *probe.Report) bool {
	for _, o := range r.Options {
		if o.Number != 44 && len(o.Server) > 0 {
			return true
		}
	}
	return false
}

// TestProbeOfRecordedServers compares the report on each recorded server with a golden file that people can read.
func TestProbeOfRecordedServers(t *testing.T) {
	servers, err := os.ReadDir(traces)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, server := range servers {
		if !server.IsDir() {
			continue
		}
		n++
		for _, thorough := range []bool{false, true} {
			name := server.Name()
			if thorough {
				name += "-thorough"
			}
			t.Run(name, func(t *testing.T) {
				s := recorded(t, server.Name())
				synctest.Test(t, func(t *testing.T) {
					report := probeScript(t, s, thorough)
					golden(t, name, report)
				})
			})
		}
	}
	if n == 0 {
		t.Fatalf("there are no recordings in %s", traces)
	}
}

// golden compares a report with its golden file, which a person has read. If --thorough finds nothing else, one file
// serves for both.
func golden(t *testing.T, name string, r *probe.Report) {
	t.Helper()
	var got bytes.Buffer
	if err := r.WriteText(&got); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got.String()) {
		if len(line) > 81 {
			t.Errorf("longer than 80 columns: %q", line)
		}
	}
	file := filepath.Join("testdata", "report", name+".golden")
	plain := filepath.Join("testdata", "report", strings.TrimSuffix(name, "-thorough")+".golden")
	same, err := os.ReadFile(plain)
	if plain != file && err == nil && bytes.Equal(same, got.Bytes()) {
		return
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s: -update rewrites it, and git diff shows what changed; got:\n%s\nwant:\n%s", file, got.Bytes(), want)
	}
}
