package rfc2217

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// ServerConfig is how a Server behaves.
type ServerConfig struct {
	Signature string       // the answer to a client that asks for it; empty: telnetcpc
	Until     time.Time    // when the client must have agreed; zero: acceptPatience from now
	Heard     func()       // called once by Accept when the first bytes of the client have come; nil: not called
	Log       *slog.Logger // nil: slog.Default()
}

// Server is the access server's side of a session: Next returns what the client sends; Write, Modem and Line send what
// the UART receives.
//
// One goroutine calls Next and Answer, another one Write, Modem, Line and BreakNUL. Any goroutine may call Nudge, CloseWrite and
// Close.
type Server struct {
	*wire
	cfg ServerConfig // constant

	// The reader's: the goroutine that calls Next and Answer; before the session, the one in Accept.
	early        []byte    // data that came before COM-PORT-OPTION was agreed
	asked        []Command // the commands of the event that Next returned last, for Answer
	commandsLeft []byte    // commands of a subnegotiation that are not processed yet
	signed       bool      // our signature was sent unasked

	// The writer's: the goroutine that calls Write, Modem and Line.
	whilePaused  func() error // see WhilePaused
	lastWasBreak bool         // the last thing sent to the client is the notice of a break

	// mu serialises changes of the fields below: the reader sets them, the writer obeys.
	mu        sync.Mutex
	change    sync.Cond // signalled when suspended or ended changes
	suspended bool
	ended     bool // our half is closed, or about to be
	lineMask  uart.LineState
	modemMask byte
	modem     uart.ModemState // Modem's last argument
	notified  bool            // the client has had a notice of the modem state
}

// Accept negotiates on an accepted connection, in the caller's goroutine, until the client agrees to COM-PORT-OPTION.
// It requests it at once, with BINARY and SGA, as the best known servers do. If it fails, the connection stays open and is
// the caller's to close; the error is ErrSilent, ErrRefused, a *NotTelnetError, ErrProtocol, or the connection's.
func Accept(ctx context.Context, conn net.Conn, cfg ServerConfig) (*Server, error) {
	if cfg.Signature == "" {
		cfg.Signature = ourName
	}
	s := &Server{wire: newWire(conn, serverOwes, cfg.Log), cfg: cfg, modemMask: 0xFF}
	s.change.L = &s.mu
	s.options.AllowUs, s.options.AllowPeer = wanted, wanted
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past()) })
	err := s.open(ctx)
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return s, conn.SetDeadline(time.Time{})
}

// acceptPatience is how long a client may take to agree: slow clients pause between their steps.
const acceptPatience = 10 * time.Second

func (s *Server) open(ctx context.Context) error {
	hello := s.options.AskPeer(appendWanted(nil, &s.options), telnet.ComPort, true)
	if err := s.writeCommands(hello); err != nil {
		return err
	}
	until := s.cfg.Until
	if until.IsZero() {
		until = time.Now().Add(acceptPatience)
	}
	if err := s.conn.SetReadDeadline(until); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	spoke := false
	for !s.options.Peer(telnet.ComPort) && !s.options.Us(telnet.ComPort) {
		data, m, err := s.receive()
		if err == nil && s.cfg.Heard != nil {
			s.cfg.Heard()
			s.cfg.Heard = nil
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && spoke:
			return ErrRefused
		case errors.Is(err, os.ErrDeadlineExceeded):
			return ErrSilent
		case err != nil:
			return err
		case m.TooLong:
			if err := s.handleSkipped(m); err != nil {
				return err
			}
		case m.Command.Verb():
			spoke = true
			if m.Option == telnet.ComPort && m.Command == telnet.WONT {
				return ErrRefused
			}
			if err := s.negotiate(m); err != nil {
				return err
			}
		case m.Command == 0 && !spoke:
			return notTelnet(data)
		case m.Command == 0:
			if s.early = append(s.early, data...); len(s.early) > bannerLimit {
				return ErrRefused
			}
		}
	}
	return nil
}

// Next waits for the client's bytes, or one event:
//
//   - KindSettings has all commands that came together and do not contradict each other. If the client only requests
//     current values, no field is set; the same holds for values of PURGE-DATA that RFC 2217 reserves.
//   - KindPurge is a purge.
//
// Either must be answered with Answer before the following call. The bytes are valid until then.
//
// A timing mark is answered when Next is called again, so the answer is true if the caller has passed on the bytes before
// that call.
func (s *Server) Next() ([]byte, uart.Event, error) {
	if len(s.early) > 0 {
		p := s.early
		s.early = nil
		return p, uart.Event{}, nil
	}
	for {
		if len(s.commandsLeft) > 0 {
			if e, found, err := s.commands(); found || err != nil {
				e.Flow = bothWays(e.Flow)
				return nil, e, err
			}
			continue
		}
		data, m, err := s.receive()
		switch {
		case err != nil:
			s.suspend(false) // the client cannot end its pause any more
			return nil, uart.Event{}, err
		case m.Command == 0:
			return data, uart.Event{}, nil
		case m.TooLong:
			if err := s.handleSkipped(m); err != nil {
				return nil, uart.Event{}, err
			}
		case m.Command == telnet.SB && m.Option == telnet.ComPort:
			s.commandsLeft = append(s.commandsLeft[:0], m.Sub...)
		case m.Command.Verb():
			if err := s.negotiate(m); err != nil {
				return nil, uart.Event{}, err
			}
		}
	}
}

// askedMost bounds how many commands form one event, and so the size of its answer.
const askedMost = 64

// commands collects commands into one event: those of a subnegotiation, and of the subnegotiations that directly follow it
// and have been read already.
func (s *Server) commands() (e uart.Event, found bool, err error) {
	s.asked = s.asked[:0]
	e.Kind = uart.KindSettings
	for {
		for len(s.commandsLeft) > 0 {
			if len(s.asked) == askedMost {
				return e, true, nil // the rest comes with the following call
			}
			cmd, rest, err := ParseCommand(s.commandsLeft)
			if err != nil {
				s.commandsLeft = nil // a command without its value is ignored
				break
			}
			purges := cmd.Code == PurgeData && cmd.Value >= byte(uart.PurgeRx) && cmd.Value <= byte(uart.PurgeBoth)
			asks := cmd.Code >= SetBaudRate && cmd.Code <= SetControl || cmd.Code == PurgeData
			switch {
			case purges && len(s.asked) == 0:
				s.commandsLeft = rest
				s.asked = append(s.asked, cmd)
				return uart.Event{Kind: uart.KindPurge, Purge: uart.Purge(cmd.Value)}, true, nil
			case purges || asks && !joins(&e, cmd):
				return e, true, nil // comes with the following call
			case asks:
				s.asked = append(s.asked, cmd)
			default:
				if err := s.serverCommand(cmd); err != nil {
					return e, false, err
				}
			}
			s.commandsLeft = rest
		}
		if !s.takeNext() {
			return e, len(s.asked) > 0, nil
		}
	}
}

// takeNext takes the next subnegotiation from what was read already. It returns false if something else comes first.
func (s *Server) takeNext() bool {
	if s.pending.Command != 0 || len(s.rest) == 0 {
		return false
	}
	data, m := s.ahead()
	if len(data) == 0 && m.Command == telnet.SB && m.Option == telnet.ComPort && !m.TooLong {
		s.commandsLeft = append(s.commandsLeft[:0], m.Sub...)
		return true
	}
	s.putBack(data, m)
	return false
}

// joins merges a command into e. It returns false if e has the same setting already: then the command begins a new event.
func joins(e *uart.Event, cmd Command) bool {
	set := cmd.Setting()
	for f := range numFields {
		if f.get(set) != 0 && f.get(*e) != 0 {
			return false
		}
	}
	if set.Control.Break != 0 && e.Control.Break != 0 {
		return false
	}
	e.Coding, e.Flow, e.Control = set.Coding.Over(e.Coding), set.Flow.Over(e.Flow), set.Control.Over(e.Control)
	return true
}

// bothWays applies an outbound flow control without an inbound one to both directions (RFC 2217, section 3, SET-CONTROL,
// values 1 to 3; most clients rely on it).
func bothWays(f uart.Flow) uart.Flow {
	if f.In == 0 && flowIn[f.Out] != 0 {
		f.In = f.Out
	}
	return f
}

// serverCommand processes a command that does not concern the UART.
func (s *Server) serverCommand(cmd Command) error {
	switch cmd.Code {
	case Signature:
		if len(cmd.Text) == 0 {
			return s.owe(AppendCommand(nil, Command{Code: Signature + FromServer, Text: []byte(s.cfg.Signature)}))
		}
	case FlowSuspend, FlowResume:
		s.suspend(cmd.Code == FlowSuspend)
	case SetLineMask:
		return s.setLineMask(uart.LineState(cmd.Value))
	case SetModemMask:
		s.mu.Lock()
		s.modemMask = cmd.Value
		s.mu.Unlock()
		return s.owe(AppendCommand(nil, Command{Code: SetModemMask + FromServer, Value: cmd.Value}))
	}
	return nil
}

// ourName is how the signature of this access server begins. Our client recognises it, and then expects no NUL after the
// notice of a break.
const ourName = "telnetcpc"

// setLineMask sets which line states the client wants to be notified of. A client that wants breaks gets our signature
// before any notice: either side may send its signature at any time (RFC 2217, section 2).
func (s *Server) setLineMask(mask uart.LineState) error {
	p := AppendCommand(nil, Command{Code: SetLineMask + FromServer, Value: byte(mask)})
	if mask&uart.LineBreak != 0 && !s.signed {
		s.signed = true
		name := s.cfg.Signature
		if !strings.HasPrefix(name, ourName) {
			name = ourName
		}
		p = AppendCommand(p, Command{Code: Signature + FromServer, Text: []byte(name)})
	}
	if err := s.owe(p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lineMask = mask // after owe: a notice is sent after what is queued
	return nil
}

// suspend makes Write wait, or continue.
func (s *Server) suspend(pause bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspended = pause
	s.change.Broadcast()
}
