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

// lastWords is how long a client that is sent away has to take what is said to it.
const lastWords = time.Second

// admit starts the goroutine of a connection. It ends when the client or ctx does.
func (s *Server) admit(ctx context.Context, clients *sync.WaitGroup, conn net.Conn) {
	if !s.allowed(conn) {
		s.tally.say(kindNotAllowed, "", slog.LevelWarn, "client refused: its address is not allowed", "client", conn.RemoteAddr().String())
		_ = conn.Close()
		return
	}
	v := &visitor{accepted: conn, since: time.Now(), tcp: tcp.SocketOf(conn)}
	ctx, v.hangUp = context.WithCancelCause(ctx)
	out, ok := s.lobby.enter(v)
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
		defer s.lobby.leave(v)
		if v.conn = s.secure(ctx, v); v.conn == nil {
			return
		}
		defer v.conn.Close()
		if session := s.visit(ctx, v); session != nil {
			session.part() // the device is the next one's already
		}
	})
}

func (s *Server) cutOff(v *visitor) {
	s.tally.say(kindCutOff, "", slog.LevelWarn, "client cut off: too many connections without a session",
		"client", v.accepted.RemoteAddr().String())
}

// visit is the life of a connection. It has no claim to the device before it has agreed to COM-PORT-OPTION: what only
// connects keeps nobody from it. The session that it returns has ended, its connection is still to be; nil: there was none.
func (s *Server) visit(ctx context.Context, v *visitor) *session {
	free := s.take(ctx, v, handover)
	if free {
		s.release()
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case !free && len(s.watchers) == cap(s.watchers):
		s.refuse(ctx, v.conn) // nothing is negotiated: it may be a person with a terminal
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
	case !s.lobby.keep(v): // its place was another's at this very moment
	case free && s.take(ctx, v, settles), !free && s.takeNow():
		s.lobby.leave(v)
		return s.own(ctx, v, client)
	case ctx.Err() == nil:
		s.second(ctx, v, client)
	}
	return nil
}

// second is the life of a client that has agreed while another one has the device.
func (s *Server) second(ctx context.Context, v *visitor, client *rfc2217.Server) {
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
		s.lobby.leave(v)
		s.watch(ctx, v, client)
	default:
		s.refuse(ctx, v.conn)
	}
}

// refuse sends a client away that would be the second. Who has the port is not a stranger's business: only the log says it.
func (s *Server) refuse(ctx context.Context, conn net.Conn) {
	s.tally.say(kindInUse, "", slog.LevelInfo, "client refused: the port is in use",
		"client", conn.RemoteAddr().String(), "owner", s.holder().name())
	dismiss(ctx, conn, rfc2217.InUse)
}

// dismiss says one line, if there is one, and lets the client read it: a connection that is closed with bytes unread is
// reset, and what was said would be lost with it. It does not close the connection.
func dismiss(ctx context.Context, conn net.Conn, line string) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(tcp.Past()) })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(lastWords))
	if ctx.Err() != nil { // else the deadline just set has taken the place of the one that ends it
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

// own is the life of one client that owns the device, to the end of its session, which it returns: the connection is
// still to be ended then. nil: there was none.
func (s *Server) own(ctx context.Context, v *visitor, client *rfc2217.Server) *session {
	owner := s.becomesOwner(v)
	device, err := s.cfg.Open(ctx)
	if err != nil {
		s.release()
		if ctx.Err() == nil {
			s.notOpened(ctx, v.conn, err)
		}
		return nil
	}
	defer s.release()
	s.tally.forget(kindNotOpened)
	log, losses := slog.New(s.few).With("client", owner.name()), slog.New(s.lost).With("client", owner.name())
	log.Info("client connected")
	session := newSession(v, client, device, &s.gallery, owner, log, losses)
	session.run(ctx)
	return session
}

// notOpened sends a client away because the UART is not there. The log has it once: clients come again and again.
func (s *Server) notOpened(ctx context.Context, conn net.Conn, err error) {
	s.tally.say(kindNotOpened, err.Error(), slog.LevelError, "port not opened", "client", conn.RemoteAddr().String(), "err", err)
	dismiss(ctx, conn, "port not opened: "+oneLine(err))
}

// sayOf returns what says in the log why a client gets no session.
func (s *Server) sayOf(conn net.Conn) func(kind string, level slog.Level, line string, args ...any) {
	return func(kind string, level slog.Level, line string, args ...any) {
		s.tally.say(kind, line, level, line, append([]any{"client", conn.RemoteAddr().String()}, args...)...)
	}
}

// notAccepted says what a client turned out to be that does not speak RFC 2217, and what to do.
func (s *Server) notAccepted(conn net.Conn, err error) {
	say, url := s.sayOf(conn), s.url(conn)
	var raw *rfc2217.NotTelnetError
	switch {
	case errors.As(err, &raw) && bytes.HasPrefix(raw.First, []byte{handshakeRecord}):
		say(kindTLS, slog.LevelWarn, "client refused: it speaks TLS", "hint", "this port has no TLS: telnetcpc attach PORT "+url+
			", or give it one here: --tls-cert FILE --tls-key FILE")
	case errors.As(err, &raw):
		say(kindRaw, slog.LevelWarn, "client refused: it sends raw bytes",
			"sent", raw.Seen(), "hint", "this port speaks RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrSilent):
		say(kindSilent, slog.LevelInfo, "client refused: it says nothing",
			"hint", "this port speaks RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrRefused):
		say(kindNoComPort, slog.LevelWarn, "client refused: it speaks Telnet without COM-PORT-OPTION",
			"hint", "it needs RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrProtocol):
		say(kindProtocol, slog.LevelWarn, "client hung up", "err", err)
	default:
		say(kindLeft, slog.LevelInfo, "client left before anything was agreed", "err", err)
	}
}

// oneLine is an error as a client is told it.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
