package remote

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
)

// LastWords is how long to wait for an answer to the end of our half of a connection.
const LastWords = 2 * time.Second

// notDialed explains why there is no connection, and what to check.
func (r *Remote) notDialed(err error) error {
	at := r.url.Address()
	var timeout net.Error
	var op *net.OpError
	trouble := cmp.Or(NameTrouble(err, r.url.Host), zoneTrouble(r.url.Host))
	switch {
	case trouble != "":
		return &Error{fmt.Sprintf("dial %s: %s", at, trouble), err}
	case errors.Is(err, errRefused):
		return &Error{fmt.Sprintf("dial %s: connection refused (is the access server running, and on this port?)", at), err}
	case errors.Is(err, errHostUnreachable), errors.Is(err, errNetUnreachable):
		return &Error{fmt.Sprintf("dial %s: no route to the host (is the network up, and is the address right?)", at), err}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{fmt.Sprintf("dial %s: no answer within %v (is the device on? does a firewall block the port?)", at, dialTimeout), err}
	case errors.As(err, &op):
		return &Error{fmt.Sprintf("dial %s: %v", at, op.Err), err}
	}
	return fmt.Errorf("dial %s: %w", at, err)
}

// Error is one line for people that says what to do, and the error that caused it.
type Error struct {
	Text string
	Err  error
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

// notOpened explains why there is no session with a peer that was reached, and what to do.
func (r *Remote) notOpened(conn net.Conn, err error) error {
	at := r.url.Address()
	no := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", at, ErrNotAccessServer, fmt.Sprintf(format, args...))
	}
	var other *rfc2217.NotTelnetError
	var early *rfc2217.EarlyEndError
	var missing *rfc2217.NoDeviceError
	var occupied *rfc2217.InUseError
	if errors.Is(err, rfc2217.ErrSilent) {
		if text := elicit(conn); len(text) > 0 {
			err = &rfc2217.NotTelnetError{First: text}
		}
	}
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("%s: the access server cannot open its device: it sent %s (is it plugged in there?)", at, missing.Quoted())
	case errors.As(err, &early) && len(early.Text) > 0:
		return fmt.Errorf("%s: negotiation: %w", at, early)
	case errors.As(err, &other) && makers.Service(other.First) == makers.TLS:
		return no("it expects TLS (%s)", r.url.with(SchemeRFC2217TLS))
	case errors.As(err, &other):
		return no("it sent %s (%s)", other.Quoted(), r.guess(other.First))
	case errors.Is(err, rfc2217.ErrEcho):
		return no("it echoes what it receives (a loopback plug on a raw port? %s carries bytes without settings)", r.url.with(SchemeTCP))
	case errors.Is(err, rfc2217.ErrSilent):
		if r.url.Scheme != SchemeRFC2217TLS {
			return no("it is silent (%s; or it expects TLS: %s)", r.url.RawHint(), r.url.with(SchemeRFC2217TLS))
		}
		return no("it is silent (%s)", r.url.RawHint())
	case errors.Is(err, rfc2217.ErrRefused):
		return no("it speaks Telnet but refuses COM-PORT-OPTION (enable RFC 2217 on the server; %s carries bytes without settings)", r.url.with(SchemeTelnet))
	case errors.As(err, &occupied):
		return fmt.Errorf("%s: the access server's port seems to be in use by another client: it sent %s", at, occupied.Quoted())
	case errors.Is(err, rfc2217.ErrInUse):
		return fmt.Errorf("%s: the access server's port is in use by another client (disconnect that client first; a server that keeps dead sessions, as a Digi may, has a setting or an idle timeout for that)", at)
	}
	if s, ok := conn.(*secured); ok {
		if refusal := s.certificateRefused(err); refusal != nil {
			return fmt.Errorf("%s: %w", at, refusal)
		}
	}
	var op *net.OpError
	if errors.As(err, &op) { // without our own port, so that the same error has the same text
		text := strings.Replace(err.Error(), op.Error(), op.Err.Error(), 1)
		return &Error{fmt.Sprintf("%s: negotiation: %s", at, text), err}
	}
	return fmt.Errorf("%s: negotiation: %w", at, err)
}

// elicit closes our half of a connection that has been silent, and returns what the peer answers: a web server complains
// that it got no request. It sends nothing, because the peer may be a machine tool.
func elicit(conn net.Conn) []byte {
	if tcp.CloseWrite(conn) != nil || conn.SetReadDeadline(time.Now().Add(LastWords)) != nil {
		return nil
	}
	text := make([]byte, 64)
	n, _ := conn.Read(text) // EOF or a timeout: no answer
	return text[:n]
}

// guess names a listener that does not speak Telnet, by the first bytes that it sent, and says what to do.
func (r *Remote) guess(first []byte) string {
	if service := makers.Service(first); service != "" {
		return service + ": is the port right?"
	}
	return r.url.RawHint()
}
