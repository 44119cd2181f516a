package probe_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/probe"
	"telnetcpc/bridge/remote"
)

// attach and probe come to the same conclusion about a listener.
func TestAttachAndProbeAgree(t *testing.T) {
	const (
		negotiates = "\xff\xfb\x03\xff\xfd\x03\xff\xfd\x2c"
		inUse      = "in use by another client"
		noDevice   = "cannot open its device"
	)
	for _, tt := range []struct {
		name, says     string
		stays          bool // it keeps the connection open
		answers        map[string]string
		attach, probes string // part of the error (empty: none), and of the verdict
	}{
		{name: "in use, the exact words", says: "Port already in use\r\n", attach: inUse, probes: inUse},
		{name: "in use, after a negotiation", says: negotiates + "Port already in use\r\n", attach: inUse, probes: inUse},
		{name: "in use, in other words", says: "Sorry, line BUSY\r\n", attach: inUse, probes: inUse},
		{name: "in use, in other words after a greeting", says: "hello\r\nttyS0 is in use\r\n", attach: inUse, probes: inUse},
		{name: "in use, in other words after a negotiation", says: negotiates + "ttyS0 is in use\r\n", attach: inUse, probes: inUse},
		{name: "a raw port whose device says BUSY", says: "BUSY\r\n", stays: true, attach: "(a raw port?", probes: "it sends data, but no Telnet"},
		{name: "serve without its device", says: "port not opened: /dev/ttyS0: in use by another program\r\n", attach: noDevice, probes: noDevice},
		{name: "ser2net without its device", says: negotiates + "Device open failure: Device busy\r\n", attach: noDevice, probes: noDevice},
		{name: "agrees, then gives the option up", says: negotiates + "\xff\xfe\x2c", stays: true, attach: "gave up COM-PORT-OPTION", probes: "it refuses COM-PORT-OPTION"},
		{name: "closes without a word", attach: "closed by the peer", probes: "it closes the connection at once"},
		{name: "a raw port that sends 255 and a byte", says: "\xff\x01\xff\x02", stays: true, attach: "(a raw port?", probes: "it sends data, but no Telnet"},
		{name: "WILL unasked, and DO in answer to our DO", says: "\xff\xfb\x2c", stays: true, answers: map[string]string{do44: do44, doTM: "\xff\xfc\x06"},
			probes: "an RFC 2217 access server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := listen(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, tt.says)
				if !tt.stays {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
				for buf := make([]byte, 64); ; {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					for query, answer := range tt.answers {
						if strings.Contains(string(buf[:n]), query) {
							_, _ = io.WriteString(conn, answer)
						}
					}
				}
			})
			far := newRemote(t, at, remote.Options{Log: slog.New(slog.DiscardHandler)})
			s, err := far.Dial(t.Context(), 0)
			if err == nil {
				_ = s.Close()
			}
			if got := text(err); (tt.attach == "") != (err == nil) || !strings.Contains(got, tt.attach) {
				t.Errorf("attach: got %q, want %q in it", got, tt.attach)
			}
			r, err := probe.Run(t.Context(), far, probe.Options{Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.LooksLike, tt.probes) {
				t.Errorf("probe: got %q, want %q in it", r.LooksLike, tt.probes)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
