package accessserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
)

const (
	// handover is how long a newcomer waits for the client before it to be gone: one that closes and opens again must
	// not be refused because of its own last session, whose FIN may not have been read yet.
	handover = time.Second
	// visitorsMost bounds the connections that do not own the device: who comes while so many wait is cut off.
	visitorsMost = 32
	// lastWords is how long a client that is sent away has to take what is said to it.
	lastWords = time.Second
	// acceptAgain is how long to wait when a connection could not be accepted, mostly for want of file descriptors.
	acceptAgain = time.Second
)

// Config is what a Server is made of.
type Config struct {
	// Open makes the UART for one client, who owns it until the session closes it.
	Open func(ctx context.Context) (Device, error)
	// Present is nil as long as Open has a chance; it does not touch the UART. A client that comes while it has none is
	// told why before anything is agreed, so that it keeps its bytes. nil: there is always one.
	Present func() error
	// Watchers is how many clients may watch while another owns the UART: they see what comes from it. Who is one too
	// many is refused; 0: everybody but the owner is.
	Watchers int
	// Allow is where clients may come from; empty: from everywhere. Who comes from elsewhere is closed without a word.
	Allow []Range
	// TLS is what clients speak before anything else; nil: no TLS.
	TLS *TLS
	// Signature is what a client is told that asks who this is; empty: telnetcpc.
	Signature string
	Log       *slog.Logger // nil: slog.Default()
}

// Server lets one client after the other have the UART.
type Server struct {
	cfg Config
	log *slog.Logger

	owned    chan struct{} // one slot: who has put something in owns the device
	visitors chan struct{} // a slot for each connection that does not
	watchers chan struct{} // a slot for each of those that watch
	gallery  gallery

	refused string // why the UART could not be opened, the last time; the owner's alone

	mu    sync.Mutex // over owner
	owner owner      // who owns the device, or did last
}

// New returns a server that does nothing until Serve.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Server{
		cfg: cfg, log: cfg.Log,
		owned: make(chan struct{}, 1), visitors: make(chan struct{}, visitorsMost), watchers: make(chan struct{}, cfg.Watchers),
	}
}

// Serve accepts clients until the context ends (nil) or the listener is closed by somebody else. It closes the
// listener and returns when every session has ended.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	tcp.Prepare(l)
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		case err != nil:
			s.log.Warn("client not accepted; trying again", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptAgain):
			}
		default:
			s.admit(ctx, &clients, conn)
		}
	}
}

// admit starts the goroutine of a connection. It ends when the client or ctx does.
func (s *Server) admit(ctx context.Context, clients *sync.WaitGroup, conn net.Conn) {
	if !s.allowed(conn) {
		s.log.Warn("client refused: its address is not allowed", "client", conn.RemoteAddr().String())
		_ = conn.Close()
		return
	}
	select {
	case s.visitors <- struct{}{}:
	default:
		s.log.Warn("client cut off: too many wait for the port", "client", conn.RemoteAddr().String())
		_ = conn.Close()
		return
	}
	if below := tcpOf(conn); below != nil {
		keepAlive(below)
		tcp.Prepare(below) // again: it may not be inherited here
	}
	clients.Go(func() {
		conn := s.secure(ctx, conn)
		if conn == nil {
			<-s.visitors
			return
		}
		defer conn.Close()
		ctx, hangUp := context.WithCancelCause(ctx)
		defer hangUp(nil)
		if s.claim(ctx, &owner{conn, hangUp}) {
			<-s.visitors
			if session := s.own(ctx, conn); session != nil {
				session.part() // the device is the next one's already
			}
			return
		}
		defer func() { <-s.visitors }()
		s.second(ctx, conn)
	})
}

// second is the life of a client that does not own the device.
func (s *Server) second(ctx context.Context, conn net.Conn) {
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
		s.watch(ctx, conn)
	default:
		if ctx.Err() == nil {
			s.refuse(ctx, conn)
		}
	}
}

// claim waits for the device, and reports whether the client owns it now. Meanwhile it finds out whether the owner
// lives.
func (s *Server) claim(ctx context.Context, client *owner) bool {
	s.mu.Lock()
	before := s.owner
	s.mu.Unlock()
	asking, enough := context.WithCancel(ctx)
	defer enough()
	free := make(chan bool, 1)
	go func() { free <- before.inquire(asking, client.conn) }() // ends with asking
	patience := time.NewTimer(handover)
	defer patience.Stop()
	for waits := 2; waits > 0; {
		select {
		case s.owned <- struct{}{}:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.owner = *client
			return true
		case soon := <-free:
			if waits--; soon {
				waits = 1
				patience.Reset(handover)
			}
		case <-patience.C:
			waits--
		case <-ctx.Done():
			return false
		}
	}
	return false
}

func (s *Server) release() { <-s.owned }

// refuse sends a client away that would be the second. Nothing is negotiated: it may be a person with a terminal. The
// words are ser2net's, for there are clients that know them.
func (s *Server) refuse(ctx context.Context, conn net.Conn) {
	s.mu.Lock()
	owner := s.owner.conn.RemoteAddr().String()
	s.mu.Unlock()
	s.log.Info("client refused: the port is in use", "client", conn.RemoteAddr().String(), "owner", owner)
	dismiss(ctx, conn, "Port already in use by "+owner)
}

// dismiss says one line, if there is one, and lets the client read it: a connection that is closed with bytes unread is reset, and what
// was said would be lost with it. It does not close the connection.
func dismiss(ctx context.Context, conn net.Conn, line string) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(lastWords))
	if ctx.Err() != nil { // else the deadline just set has taken the place of the one that ends it
		return
	}
	var err error
	if line != "" {
		_, err = io.WriteString(conn, line+"\r\n")
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 64<<10)) // ends with the client's FIN or the deadline
	}
}

// own is the life of one client that owns the device, from the negotiation to the end of its session, which it returns: the
// connection is still to be ended then. nil: there was none.
func (s *Server) own(ctx context.Context, conn net.Conn) *session {
	defer s.release()
	log := s.log.With("client", conn.RemoteAddr().String())
	if s.cfg.Present != nil {
		if err := s.cfg.Present(); err != nil {
			s.notOpened(ctx, log, conn, err)
			return nil
		}
	}
	client, err := s.accept(ctx, conn, log)
	if err != nil {
		if ctx.Err() == nil {
			s.notAccepted(log, conn, err)
		}
		return nil
	}
	device, err := s.cfg.Open(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.notOpened(ctx, log, conn, err)
		}
		return nil
	}
	s.refused = ""
	log.Info("client connected")
	session := newSession(conn, client, device, &s.gallery, log)
	session.run(ctx)
	return session
}

// notOpened sends a client away because the UART is not there. The log has it once: clients come again and again.
func (s *Server) notOpened(ctx context.Context, log *slog.Logger, conn net.Conn, err error) {
	level := slog.LevelError
	if s.refused == err.Error() {
		level = slog.LevelDebug
	}
	s.refused = err.Error()
	log.Log(ctx, level, "port not opened", "err", err)
	dismiss(ctx, conn, "port not opened: "+oneLine(err))
}

// notAccepted says what a client turned out to be that does not speak RFC 2217, and what to do.
func (s *Server) notAccepted(log *slog.Logger, conn net.Conn, err error) {
	url := s.url(conn)
	var raw *rfc2217.NotTelnetError
	switch {
	case errors.As(err, &raw) && bytes.HasPrefix(raw.First, []byte{handshakeRecord}):
		log.Warn("client refused: it speaks TLS", "hint", "this port has no TLS: telnetcpc attach PORT "+url+", or give it one here: --tls-cert FILE --tls-key FILE")
	case errors.As(err, &raw):
		log.Warn("client refused: it sends raw bytes", "sent", raw.Seen(), "hint", "this port speaks RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrSilent):
		log.Info("client refused: it says nothing", "hint", "this port speaks RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrRefused):
		log.Warn("client refused: it speaks Telnet without COM-PORT-OPTION", "hint", "it needs RFC 2217: telnetcpc attach PORT "+url)
	case errors.Is(err, rfc2217.ErrProtocol):
		log.Warn("client hung up", "err", err)
	default:
		log.Info("client left before anything was agreed", "err", err)
	}
}

// oneLine is an error as a client is told it.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
