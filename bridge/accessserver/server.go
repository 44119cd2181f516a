// Package accessserver is the far end: it gives the one UART behind it to one RFC 2217 client at a time. It listens,
// owns the session and drives a uart.Device: serialport's, simulate's or another. It does not know the Telnet beneath the
// commands, nor ports and bridges, which are the near end.
package accessserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"telnetcpc/bridge/loglimit"
	"telnetcpc/bridge/uart"
)

// acceptAgain is how long to wait when a connection could not be accepted, mostly for want of file descriptors.
const acceptAgain = time.Second

// sessionLines is how many lines a minute clients may cause that come and go, and as many that say what that cost.
const sessionLines = 10

// Config is what a Server is made of.
type Config struct {
	// Open makes the UART for one client, who owns it until the session closes it.
	Open func(ctx context.Context) (uart.Device, error)
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
	cfg   Config
	log   *slog.Logger
	few   *loglimit.Handler // for the lines of sessions: a client may come and go without end
	lost  *loglimit.Handler // for those of them that tell of lost bytes: the others must not leave these out
	tally tally             // for those of connections that come to nothing

	owned    chan struct{} // one slot: who has put something in owns the device
	watchers chan struct{} // a slot for each of those that watch
	lobby    lobby         // everybody else
	gallery  gallery

	mu    sync.Mutex // over owner
	owner *owner     // who owns the device, or did last; nil: nobody has yet
}

// New returns a server that does nothing until Serve.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Server{
		cfg: cfg, log: cfg.Log, tally: tally{log: cfg.Log},
		few: loglimit.New(cfg.Log.Handler(), sessionLines), lost: loglimit.New(cfg.Log.Handler(), sessionLines),
		owned: make(chan struct{}, 1), watchers: make(chan struct{}, cfg.Watchers),
	}
}

// Serve accepts clients until the context ends (nil) or the listener is closed by somebody else. It closes the
// listener and returns when every session has ended. The listener should be one of tcp.Listen: those of others have the
// system take megabytes of a client ahead of its device.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer s.tally.flush()
	defer s.few.Flush()
	defer s.lost.Flush()
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
			slog.New(s.few).Warn("client not accepted; trying again", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptAgain):
			}
		default:
			s.admit(ctx, &clients, conn)
		}
	}
}
