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
	Signature string       // what a client is told that asks; empty: telnetcpc
	Until     time.Time    // when the client must have agreed; zero: in 10 s
	Heard     func()       // called by Accept once anything has come of the client; nil: nothing is
	Log       *slog.Logger // nil: slog.Default()
}

// Server is the access server's side of a session: what the client asks for comes from Next, what the UART does goes
// to Write, Modem and Line.
//
// Next and Answer share one caller; Write, Modem and Line share another; Close may be called by anyone.
type Server struct {
	*wire
	cfg ServerConfig

	// The reader's alone.
	early []byte    // data that came before COM-PORT-OPTION was agreed
	asked []Command // what the event that Next returned last was made of
	more  []byte    // commands of a subnegotiation that are not looked at yet
	named bool      // the client was told our name, unasked

	// The writer's alone.
	meanwhile func() error // see WhilePaused
	broke     bool         // the last thing that was told is a break

	mu        sync.Mutex // over everything below: the reader is told, the writer obeys
	change    sync.Cond
	suspended bool
	over      bool
	lineMask  uart.LineState
	modemMask byte
	modem     uart.ModemState // what Modem was called with last
	notified  bool            // the client was told at least once
}

// Accept negotiates on an accepted connection, in the caller's goroutine, until the client agrees to COM-PORT-OPTION.
// It offers it at once, with BINARY and SGA, as the best known servers do. When it fails the connection is the caller's
// to close; the error is ErrSilent, ErrRefused, a *NotTelnetError, ErrProtocol, or the connection's.
func Accept(ctx context.Context, conn net.Conn, cfg ServerConfig) (*Server, error) {
	if cfg.Signature == "" {
		cfg.Signature = ourName
	}
	s := &Server{wire: newWire(conn, serverOwes, cfg.Log), cfg: cfg, modemMask: 0xFF}
	s.change.L = &s.mu
	s.options.AllowUs, s.options.AllowPeer = wanted, wanted
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := s.open(ctx)
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return s, conn.SetDeadline(time.Time{})
}

// acceptPatience is how long a client may take: slow ones look at the clock between their steps.
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
			if err := s.skipped(m); err != nil {
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

// Next waits for the client's bytes, or one Event. KindSettings is what one moment asked for: all commands that came
// together and do not contradict each other; where the client only asks what is in force, nothing is set in it.
// KindPurge is a purge; its values that RFC 2217 reserves purge nothing, and come as questions. Either is to be answered with Answer before the following call. The bytes are valid until then.
//
// A timing mark is answered when Next is called again: whoever hands the bytes on before he does so makes the mark
// mean what it says.
func (s *Server) Next() ([]byte, uart.Event, error) {
	if len(s.early) > 0 {
		p := s.early
		s.early = nil
		return p, uart.Event{}, nil
	}
	for {
		if len(s.more) > 0 {
			if e, found, err := s.commands(); found || err != nil {
				e.Flow = bothWays(e.Flow)
				return nil, e, err
			}
			continue
		}
		data, m, err := s.receive()
		switch {
		case err != nil:
			s.suspend(false) // who asked for the pause cannot end it any more
			return nil, uart.Event{}, err
		case m.Command == 0:
			return data, uart.Event{}, nil
		case m.TooLong:
			if err := s.skipped(m); err != nil {
				return nil, uart.Event{}, err
			}
		case m.Command == telnet.SB && m.Option == telnet.ComPort:
			s.more = append(s.more[:0], m.Sub...)
		case m.Command.Verb():
			if err := s.negotiate(m); err != nil {
				return nil, uart.Event{}, err
			}
		}
	}
}

// askedMost bounds how many commands make one event: what is owed for it is bounded by that.
const askedMost = 64

// commands takes the commands of a subnegotiation, and of those that follow it in what was read already, as long as
// they make one event.
func (s *Server) commands() (e uart.Event, found bool, err error) {
	s.asked = s.asked[:0]
	e.Kind = uart.KindSettings
	for {
		for len(s.more) > 0 {
			if len(s.asked) == askedMost {
				return e, true, nil // the rest comes with the following call
			}
			cmd, rest, err := ParseCommand(s.more)
			if err != nil {
				s.more = nil // a command without its value says nothing
				break
			}
			purges := cmd.Code == PurgeData && cmd.Value >= byte(uart.PurgeRx) && cmd.Value <= byte(uart.PurgeBoth)
			asks := cmd.Code >= SetBaudRate && cmd.Code <= SetControl || cmd.Code == PurgeData
			switch {
			case purges && len(s.asked) == 0:
				s.more = rest
				s.asked = append(s.asked, cmd)
				return uart.Event{Kind: uart.KindPurge, Purge: uart.Purge(cmd.Value)}, true, nil
			case purges || asks && !joins(&e, cmd):
				return e, true, nil // comes with the following call
			case asks:
				s.asked = append(s.asked, cmd)
			default:
				if err := s.simple(cmd); err != nil {
					return e, false, err
				}
			}
			s.more = rest
		}
		if !s.follows() {
			return e, len(s.asked) > 0, nil
		}
	}
}

// follows takes the next subnegotiation out of what was read already, where one stands there before everything else.
func (s *Server) follows() bool {
	if s.pending.Command != 0 || len(s.rest) == 0 {
		return false
	}
	data, m := s.ahead()
	if len(data) == 0 && m.Command == telnet.SB && m.Option == telnet.ComPort && !m.TooLong {
		s.more = append(s.more[:0], m.Sub...)
		return true
	}
	s.putBack(data, m)
	return false
}

// joins merges what a command sets into e, unless e sets that already: then it is a moment of its own.
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

// bothWays reads an outbound flow control without an inbound one beside it as the RFC and most clients mean it: for both
// directions (RFC 2217, SET-CONTROL, values 1 to 3).
func bothWays(f uart.Flow) uart.Flow {
	if f.In == 0 && flowIn[f.Out] != 0 {
		f.In = f.Out
	}
	return f
}

// simple does what a command means that the UART need not know.
func (s *Server) simple(cmd Command) error {
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

// ourName is how the signature of this access server begins. A client that knows it swallows no NUL behind the notice of
// a break: none comes.
const ourName = "telnetcpc"

// setLineMask takes the client's wish to be told of line states. One that wants to know of breaks is told who we are, before
// it is told of anything: either side may send its signature at any time (RFC 2217).
func (s *Server) setLineMask(mask uart.LineState) error {
	p := AppendCommand(nil, Command{Code: SetLineMask + FromServer, Value: byte(mask)})
	if mask&uart.LineBreak != 0 && !s.named {
		s.named = true
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
	s.lineMask = mask // now, for a notice goes out behind what is owed
	return nil
}

// suspend has Write pause, or go on.
func (s *Server) suspend(pause bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspended = pause
	s.change.Broadcast()
}
