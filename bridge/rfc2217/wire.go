package rfc2217

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"telnetcpc/bridge/telnet"
)

const (
	// readSize is what one read of the connection asks for, where the connection has no buffer to lend.
	readSize = 32 << 10
	// pieceSize is how many bytes of data one write gives to TCP at most, where the connection does not say it: what is
	// in there cannot be called back.
	pieceSize = 4 << 10
	// clientOwes and serverOwes bound the answers that wait for a writer. A peer that asks faster than it reads has
	// broken the protocol. Clients pipeline settings by the hundred; servers ask for next to nothing.
	clientOwes, serverOwes = 4 << 10, 64 << 10
)

// ErrProtocol says that the peer broke the protocol: the session cannot go on.
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

// pacer is a connection that says how many of n bytes the next Write should be given. Only Write's caller may ask.
type pacer interface {
	Piece(n int) int
}

// wire is the engine that Client and Server share: the decoder and the options in the reader's hands, and the one door
// to the socket, through which data, commands, and what is owed go (wire_write.go).
type wire struct {
	conn   net.Conn
	lender lender // of conn, or nil
	pacer  pacer  // of conn, or nil

	// The reader's alone.
	decoder telnet.Decoder
	options telnet.Options
	in      []byte         // what is read into, without a lender
	reads   uint64         // so far
	rest    []byte         // the part of what was read that is not decoded yet
	held    []byte         // data that was decoded ahead of its time
	pending telnet.Message // a command whose data before it was handed out first
	waits   func() error   // called before each read of the connection, or nil
	log     *slog.Logger
	skips   int // subnegotiations that were skipped because they are too long

	nvt atomic.Bool // data goes out as an NVT's: the reader says so, the writer obeys

	door
}

func newWire(conn net.Conn, owes int, log *slog.Logger) *wire {
	if log == nil {
		log = slog.Default()
	}
	w := &wire{conn: conn, log: log, door: door{limit: owes, ending: make(chan struct{})}}
	w.turn.L = &w.owedMu
	w.pacer, _ = conn.(pacer)
	if w.lender, _ = conn.(lender); w.lender == nil {
		w.in = make([]byte, readSize)
	}
	return w
}

// fill waits until receive has something to look at. Next calls it ahead of receive: a goroutine that waits in here
// needs half the stack of one that waits in there, and most are idle most of the time.
func (w *wire) fill() (err error) {
	if len(w.held) > 0 || len(w.rest) > 0 || w.pending.Command != 0 {
		return nil
	}
	if w.waits != nil {
		if err := w.waits(); err != nil {
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
		return nil // an error that came with bytes comes again
	}
	return err
}

// receive returns the next data, or the next command with nothing before it. Both belong to the wire until the
// following call. Where data stands before a command, the data comes first, the command with the following call: so a
// command is never acted upon before the bytes before it are out of the caller's hands.
func (w *wire) receive() ([]byte, telnet.Message, error) {
	if len(w.held) > 0 {
		data := w.held
		w.held = nil
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

// ahead decodes, without reading, what follows the last command, up to the next one.
func (w *wire) ahead() (data []byte, m telnet.Message) {
	data, m, w.rest = w.decoder.Decode(w.rest)
	return data, m
}

// putBack has receive return what ahead returned.
func (w *wire) putBack(data []byte, m telnet.Message) { w.held, w.pending = data, m }

// negotiate takes a verb of the peer, and owes the answer.
func (w *wire) negotiate(m telnet.Message) error {
	if m.Option == telnet.TimingMark {
		if m.Command == telnet.DO { // RFC 860: whatever came before it has been taken
			return w.owe(telnet.AppendVerb(nil, telnet.WILL, telnet.TimingMark))
		}
		return nil
	}
	var verbs [3]byte
	return w.owe(w.options.Receive(verbs[:0], m.Command, m.Option))
}

// skipped takes a subnegotiation that was skipped because it is too long: no command of RFC 2217 is, so the session loses
// nothing and goes on. One without an end is an error. It is said once.
func (w *wire) skipped(m telnet.Message) error {
	if m.Length > telnet.SkipLimit {
		return errEndless
	}
	if w.skips++; w.skips == 1 {
		w.log.Debug("subnegotiation passed over: it is too long", "option", m.Option.String(), "bytes", m.Length,
			"at most", telnet.SubLimit)
	}
	return nil
}
