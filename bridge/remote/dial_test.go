package remote

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// TestDialRefused: the error has what a server sent before it closed, and what to do if that is known. It is the same text
// for FIN and for a reset.
func TestDialRefused(t *testing.T) {
	const agrees = "\xff\xfb\x03\xff\xfd\x2c"
	for _, tt := range []struct {
		name, says, want string
	}{
		{"serve cannot open its device", "port not opened: open /dev/ttyS9: no such file or directory\r\n",
			`the access server cannot open its device: it sent "port not opened: open /dev/ttyS9: no such file or directory\r\n" (is it plugged in there?)`},
		{"ser2net cannot open its device", agrees + "Device open failure: Value or file not found\r\n",
			`the access server cannot open its device: it sent "Device open failure: Value or file not found\r\n" (is it plugged in there?)`},
		{"a server gives its own reason", agrees + "go away \x1b[2J\r\n",
			`negotiation: closed by the peer as soon as COM-PORT-OPTION was agreed; it sent "go away \x1b[2J\r\n"`},
		{"a flood", "\xff\xfb\x03" + strings.Repeat("\xff\xf1", 5000),
			"negotiation: it has sent more than 64 KiB or 4096 commands before COM-PORT-OPTION was agreed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := serve(t, func(conn net.Conn) {
				_, _ = io.ReadFull(conn, make([]byte, 3)) // WILL COM-PORT
				_, _ = io.WriteString(conn, tt.says)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
			})
			u.Scheme = SchemeRFC2217
			r, err := New(u, Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			s, err := r.Dial(t.Context(), 0)
			if err == nil {
				_ = s.Close()
			}
			if want := u.Address() + ": " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// TestGreetingByScheme: data that a server sends before it first answers is dropped for rfc2217:// only, and not with the
// option.
func TestGreetingByScheme(t *testing.T) {
	for _, tt := range []struct {
		scheme Scheme
		quirks Quirks
		want   string
	}{
		{SchemeRFC2217, 0, "1"},
		{SchemeRFC2217, rfc2217.KeepGreeting, "hello 1"},
		{SchemeTelnet, 0, "hello 1"},
		{SchemeTCP, 0, "hello 1"},
	} {
		t.Run(string(tt.scheme), func(t *testing.T) {
			u := serve(t, func(conn net.Conn) {
				says := "hello \xff\xfb\x03\xff\xfd\x2c\xff\xfc\x061"
				switch tt.scheme {
				case SchemeTelnet:
					says = "hello \xff\xfe\x00\xff\xfc\x00\xff\xfd\x03\xff\xfb\x03\xff\xfc\x061"
				case SchemeTCP:
					says = "hello 1"
				}
				_, _ = io.WriteString(conn, says)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
			})
			u.Scheme = tt.scheme
			r, err := New(u, Options{Quirks: tt.quirks, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			s, err := r.Dial(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			var got []byte
			for err == nil {
				var p []byte
				var e uart.Event
				if p, e, err = s.Next(); e.Kind == uart.KindData {
					got = append(got, p...)
				}
			}
			if !errors.Is(err, io.EOF) || string(got) != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
