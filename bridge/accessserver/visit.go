package accessserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
)

// lastWords is how long a refused client may take to read the reason.
const lastWords = time.Second

// admit starts the goroutine of a connection. It ends with the connection or with ctx.
func (s *Server) admit(ctx context.Context, clients *sync.WaitGroup, conn net.Conn) {
	if !s.allowed(conn) {
		s.refusals.log(kindNotAllowed, "", slog.LevelWarn, "client refused: its address is not allowed", "client", conn.RemoteAddr().String())
		_ = conn.Close()
		return
	}
	v := &visitor{accepted: conn, since: time.Now(), tcp: tcp.SocketOf(conn)}
	ctx, v.hangUp = context.WithCancelCause(ctx)
	out, ok := s.visitors.enter(v)
	if out != nil {
		out.hangUp(errCrowded)
		s.cutOff(out)
	}
	if !ok {
		s.cutOff(v)
		v.hangUp(nil)
		_ = conn.Close()
		return
	}
	v.tcp.Prepare()
	clients.Go(func() {
		defer v.hangUp(nil)
		defer s.visitors.leave(v)
		if v.conn = s.secure(ctx, v); v.conn == nil {
			return
		}
		defer v.conn.Close()
		if session := s.visit(ctx, v); session != nil {
			session.part() // the device is free already
		}
	})
}

func (s *Server) cutOff(v *visitor) {
	s.refusals.log(kindCutOff, "", slog.LevelWarn, "client cut off: too many connections without a session",
		"client", v.accepted.RemoteAddr().String())
}

// visit serves a connection. It has no claim to the device before COM-PORT-OPTION is negotiated, so connections that send
// nothing keep no client from it. The session that visit returns has ended, but its connection is still open; nil: there
// was no session.
func (s *Server) visit(ctx context.Context, v *visitor) *session {
	free := s.acquire(ctx, v, handover)
	if free {
		s.release()
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case !free && len(s.watcherSlots) == cap(s.watcherSlots):
		s.refuse(ctx, v.conn) // without a negotiation: the client may be a person at a terminal
		return nil
	}
	if s.cfg.Present != nil {
		if err := s.cfg.Present(); err != nil {
			s.notOpened(ctx, v.conn, err)
			return nil
		}
	}
	client, err := s.accept(ctx, v)
	v.agreed = err == nil
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.notAccepted(v.conn, err)
	case !s.visitors.keep(v): // another visitor has just taken its place
	case free && s.acquire(ctx, v, agreedWait), !free && s.tryAcquire():
		s.visitors.leave(v)
		return s.own(ctx, v, client)
	case ctx.Err() == nil:
		s.watchOrRefuse(ctx, v, client)
	}
	return nil
}

// watchOrRefuse serves a client that has negotiated while another one has the device.
func (s *Server) watchOrRefuse(ctx context.Context, v *visitor, client *rfc2217.Server) {
	select {
	case s.watcherSlots <- struct{}{}:
		defer func() { <-s.watcherSlots }()
		s.visitors.leave(v)
		s.watch(ctx, v, client)
	default:
		s.refuse(ctx, v.conn)
	}
}

// refuse sends a client away because the device is in use. Only the log names the owner: other clients must not learn it.
func (s *Server) refuse(ctx context.Context, conn net.Conn) {
	s.refusals.log(kindInUse, "", slog.LevelInfo, "client refused: the port is in use",
		"client", conn.RemoteAddr().String(), "owner", s.lastOwner().name())
	dismiss(ctx, conn, rfc2217.InUse)
}

// dismiss sends one line, if it is not empty, and gives the client time to read it: closing a connection with unread
// bytes resets it, and the line would be lost. dismiss does not close the connection.
func dismiss(ctx context.Context, conn net.Conn, line string) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(tcp.Past()) })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(lastWords))
	if ctx.Err() != nil { // the deadline just set may have replaced the one set by stop
		return
	}
	var err error
	if line != "" {
		_, err = io.WriteString(conn, line+"\r\n")
	}
	if err == nil {
		buf := make([]byte, 8<<10)
		tcp.Goodbye(func() error { return tcp.CloseWrite(conn) }, func() (int, error) { return conn.Read(buf) }, 64<<10)
	}
}

// own serves a client that has acquired the device, until the session ends. It returns the session, whose connection is
// still open; nil: there was no session.
func (s *Server) own(ctx context.Context, v *visitor, client *rfc2217.Server) *session {
	owner := s.setOwner(v)
	device, err := s.cfg.Open(ctx)
	if err != nil {
		s.release()
		if ctx.Err() == nil {
			s.notOpened(ctx, v.conn, err)
		}
		return nil
	}
	defer s.release()
	s.refusals.forget(kindNotOpened)
	log, losses := slog.New(s.few).With("client", owner.name()), slog.New(s.lost).With("client", owner.name())
	log.Info("client connected")
	session := newSession(v, client, device, &s.watchers, owner, log, losses)
	session.run(ctx)
	return session
}

// notOpened sends a client away because the UART cannot be opened. That is logged once, although clients dial again and
// again.
func (s *Server) notOpened(ctx context.Context, conn net.Conn, err error) {
	s.refusals.log(kindNotOpened, err.Error(), slog.LevelError, "port not opened", "client", conn.RemoteAddr().String(), "err", err)
	dismiss(ctx, conn, "port not opened: "+inOneLine(err))
}

// refusalLog returns a function that logs why the client of conn gets no session.
func (s *Server) refusalLog(conn net.Conn) func(kind string, level slog.Level, line string, args ...any) {
	return func(kind string, level slog.Level, line string, args ...any) {
		s.refusals.log(kind, line, level, line, append([]any{"client", conn.RemoteAddr().String()}, args...)...)
	}
}

// notAccepted logs why a client was not accepted, with a hint about what to do.
func (s *Server) notAccepted(conn net.Conn, err error) {
	log, url := s.refusalLog(conn), s.url(conn)
	var raw *rfc2217.NotTelnetError
	switch {
	case errors.As(err, &raw) && bytes.HasPrefix(raw.First, []byte{handshakeRecord}):
		log(kindTLS, slog.LevelWarn, "client refused: it speaks TLS", "hint", "this port has no TLS: telnetcpc attach PORT "+url+
			", or serve with --tls-cert FILE --tls-key FILE")
	case errors.As(err, &raw):
		log(kindRaw, slog.LevelWarn, "client refused: it sends raw bytes",
			"sent", raw.Quoted(), "hint", "this port speaks RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrSilent):
		log(kindSilent, slog.LevelInfo, "client refused: it sends nothing",
			"hint", "this port speaks RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrRefused):
		log(kindNoComPort, slog.LevelWarn, "client refused: it speaks Telnet without COM-PORT-OPTION",
			"hint", "it needs RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrProtocol):
		log(kindProtocol, slog.LevelWarn, "client disconnected", "err", err)
	default:
		log(kindLeft, slog.LevelInfo, "client left during the negotiation", "err", err)
	}
}

// inOneLine returns the text of an error without line breaks, to be sent to a client.
func inOneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
