// Package accessserver is the far end of RFC 2217: a server that gives one UART to one client at a time. Other clients
// may watch. It accepts connections, negotiates (through TLS if configured), and runs the session between a client and a
// uart.Device: that of serialport, simulate or another package. The commands serve and demo use it. It must not know how
// Telnet encodes the commands, nor anything of the other end: ports and bridges.
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

// acceptAgain is the pause after a failed accept, which usually means that no file descriptors are left.
const acceptAgain = time.Second

// sessionLines is how many lines a minute are logged about sessions, and as many about lost bytes.
const sessionLines = 10

// Config configures a Server.
type Config struct {
	// Open opens the UART for one client. The session closes it.
	Open func(ctx context.Context) (uart.Device, error)
	// Present returns an error if Open would certainly fail; it does not touch the UART. The client is then sent that error
	// before the negotiation, so that it does not send bytes that would be lost. nil: Open is tried without this check.
	Present func() error
	// Watchers is how many clients may watch while another one owns the UART: they get what comes from it. Further clients
	// are refused; with 0, every client but the owner is.
	Watchers int
	// Allow lists the addresses that clients may connect from; empty: all. Other connections are closed at once, without a
	// message.
	Allow []Range
	// TLS is the TLS that clients must use; nil: no TLS.
	TLS *TLS
	// Signature is the answer to a client's SIGNATURE request; empty: telnetcpc.
	Signature string
	Log       *slog.Logger // nil: slog.Default()
}

// Server serves one UART.
type Server struct {
	cfg Config

	// The log. Clients can connect without end, so everything that they cause is limited.
	log      *slog.Logger
	few      *loglimit.Handler // for lines about sessions
	lost     *loglimit.Handler // for lines about lost bytes, which the other lines must not crowd out
	refusals refusals          // for connections that get no session

	// The connections: each is a visitor, then perhaps the owner or a watcher.
	visitors     visitors
	ownerSlot    chan struct{} // one slot; the client that filled it owns the device
	watcherSlots chan struct{} // one for each client that may watch
	watchers     watchers

	mu    sync.Mutex // guards owner
	owner *owner     // the client that owns the device, or owned it last; nil: there was none yet
}

// New returns a server. It does nothing until Serve.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Server{
		cfg: cfg, log: cfg.Log, refusals: refusals{out: cfg.Log},
		few: loglimit.New(cfg.Log.Handler(), sessionLines), lost: loglimit.New(cfg.Log.Handler(), sessionLines),
		ownerSlot: make(chan struct{}, 1), watcherSlots: make(chan struct{}, cfg.Watchers),
	}
}

// Serve accepts clients until ctx is done, and then returns nil, or until the listener is closed by other code, which is
// an error. It closes the listener, and returns after every session has ended. The listener should be one of tcp.Listen:
// with others the system buffers megabytes from a client before the device takes them.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer s.refusals.flush()
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
