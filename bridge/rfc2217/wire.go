package rfc2217

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/telnet"
)

const (
	// readSize is how many bytes one read returns at most, if the connection has no buffer to lend.
	readSize = 32 << 10
	// pieceSize is how many bytes of data one write gives to TCP at most, if the connection is no pacer: a purge cannot take
	// them back.
	pieceSize = 4 << 10
	// clientOwes and serverOwes bound, in bytes, the answers that wait to be written. A peer that sends requests faster than
	// it reads the answers has broken the protocol. Clients pipeline settings by the hundred; servers request almost
	// nothing.
	clientOwes, serverOwes = 4 << 10, 64 << 10
)

// past returns a deadline that has passed: it ends blocked calls on a connection, and closes nothing.
func past() time.Time { return time.Unix(1, 0) }

// ErrProtocol says that the peer has broken the protocol, so that the session cannot go on.
var ErrProtocol = errors.New("protocol broken by the peer")

var (
	errOwed    = fmt.Errorf("%w: it asks more than it reads answers", ErrProtocol)
	errEndless = fmt.Errorf("%w: a subnegotiation of more than %d bytes", ErrProtocol, telnet.SkipLimit)
)

// lender is a connection that reads into a buffer of its own and returns it, valid until its next read; the caller may
// write into it. An idle session over such a connection holds no buffer.
type lender interface {
	ReadLent() ([]byte, error)
}

// pacer is a connection that knows how many of n bytes the next Write should take. Only Write's caller may call Piece.
type pacer interface {
	Piece(n int) int
}

// wire is the engine that Client and Server share: the decoder and the option state, which the reader owns, and the sender,
// through which everything is written (wire_write.go).
type wire struct {
	// Constant.
	conn       net.Conn
	lender     lender       // conn, or nil
	pacer      pacer        // conn, or nil
	beforeRead func() error // called before each read of the connection, or nil
	log        *slog.Logger

	// The reader's: the goroutine that calls Next; before the session, the one that opens it.
	decoder telnet.Decoder
	options telnet.Options
	in      []byte         // the buffer to read into, without a lender
	reads   uint64         // how many reads there were
	rest    []byte         // the part of what was read that is not decoded yet
	decoded []byte         // data that was decoded by ahead and put back
	pending telnet.Message // a command whose preceding data was returned first
	skips   int            // subnegotiations that were skipped because they are too long

	nvt atomic.Bool // data is sent as NVT data (RFC 854); the reader sets it, the writer loads it

	sender
}

func newWire(conn net.Conn, owes int, log *slog.Logger) *wire {
	if log == nil {
		log = slog.Default()
	}
	w := &wire{conn: conn, log: log, sender: sender{limit: owes, ending: make(chan struct{})}}
	w.turn.L = &w.owedMu
	w.pacer, _ = conn.(pacer)
	if w.lender, _ = conn.(lender); w.lender == nil {
		w.in = make([]byte, readSize)
	}
	return w
}

// fill reads if there is nothing left to decode. Next calls it before receive: a goroutine that waits in fill needs half the
// stack of one that waits in receive, and most goroutines wait most of the time.
func (w *wire) fill() (err error) {
	if len(w.decoded) > 0 || len(w.rest) > 0 || w.pending.Command != 0 {
		return nil
	}
	if w.beforeRead != nil {
		if err := w.beforeRead(); err != nil {
			return err
		}
	}
	w.reads++
	if w.lender != nil {
		w.rest, err = w.lender.ReadLent()
		return err
	}
	n, err := w.conn.Read(w.in)
	if w.rest = w.in[:n]; n > 0 {
		return nil // an error that came with bytes is returned by the next read
	}
	return err
}

// receive returns the next data, or the next command. Both belong to the wire until the following call. Data that comes
// before a command is returned first and the command by the following call, so the caller has passed the data on before it
// acts on the command.
func (w *wire) receive() ([]byte, telnet.Message, error) {
	if len(w.decoded) > 0 {
		data := w.decoded
		w.decoded = nil
		return data, telnet.Message{}, nil
	}
	for {
		if m := w.pending; m.Command != 0 {
			w.pending = telnet.Message{}
			return nil, m, nil
		}
		if err := w.fill(); err != nil {
			return nil, telnet.Message{}, err
		}
		data, m, rest := w.decoder.Decode(w.rest)
		w.rest = rest
		if len(data) > 0 {
			w.pending = m
			return data, telnet.Message{}, nil
		}
		if m.Command != 0 {
			return nil, m, nil
		}
	}
}

// ahead decodes what was read after the last command, up to the next command. It does not read.
func (w *wire) ahead() (data []byte, m telnet.Message) {
	data, m, w.rest = w.decoder.Decode(w.rest)
	return data, m
}

// putBack undoes ahead: receive returns it next.
func (w *wire) putBack(data []byte, m telnet.Message) { w.decoded, w.pending = data, m }

// negotiate handles a verb of the peer and queues the answer.
func (w *wire) negotiate(m telnet.Message) error {
	if m.Option == telnet.TimingMark {
		if m.Command == telnet.DO { // RFC 860: everything before it has been processed
			return w.owe(telnet.AppendVerb(nil, telnet.WILL, telnet.TimingMark))
		}
		return nil
	}
	var verbs [3]byte
	return w.owe(w.options.Receive(verbs[:0], m.Command, m.Option))
}

// handleSkipped handles a subnegotiation that the decoder has skipped because it is too long. No command of RFC 2217 is that
// long, so the session goes on; the first one is logged. A subnegotiation without an end is an error.
func (w *wire) handleSkipped(m telnet.Message) error {
	if m.Length > telnet.SkipLimit {
		return errEndless
	}
	if w.skips++; w.skips == 1 {
		w.log.Debug("subnegotiation skipped: it is too long", "option", m.Option.String(), "bytes", m.Length,
			"at most", telnet.SubLimit)
	}
	return nil
}
