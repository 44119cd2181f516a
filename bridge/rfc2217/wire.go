package rfc2217

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
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
	errTooLong = fmt.Errorf("%w: a subnegotiation of more than %d bytes", ErrProtocol, telnet.SubLimit)
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
// to the socket, through which data, commands and owed answers go.
type wire struct {
	conn   net.Conn
	lender lender // of conn, or nil
	pacer  pacer  // of conn, or nil

	// The reader's alone.
	decoder telnet.Decoder
	options telnet.Options
	in      []byte         // what is read into, without a lender
	rest    []byte         // the part of what was read that is not decoded yet
	held    []byte         // data that was decoded ahead of its time
	pending telnet.Message // a command whose data before it was handed out first

	// writeMu serialises writes to the socket, and makes a mark's place and the count of bytes before it one. It is
	// held over conn.Write.
	writeMu sync.Mutex
	given   uint64 // data bytes given to TCP, before escaping

	nvt atomic.Bool // data goes out as an NVT's: the reader says so, the writer obeys

	// owedMu is held over no I/O: the reader never waits for a writer.
	owedMu   sync.Mutex
	limit    int // of owed; constant
	owed     []byte
	flushing bool         // a goroutine is on its way to send what is owed
	mark     func(uint64) // a mark is owed: called, with writeMu held, with its place

	closed sync.Once
}

func newWire(conn net.Conn, owes int) *wire {
	w := &wire{conn: conn, limit: owes}
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

// owe has p sent as soon as nobody else writes. It never blocks.
func (w *wire) owe(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if len(w.owed)+len(p) > w.limit {
		return errOwed
	}
	w.owed = append(w.owed, p...)
	w.startFlush()
	return nil
}

// startFlush starts the goroutine that sends what is owed. The caller holds owedMu.
func (w *wire) startFlush() {
	if !w.flushing {
		w.flushing = true
		go w.flush() // ends when nothing is owed, or the connection fails: Close makes it fail
	}
}

func (w *wire) flush() {
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	for {
		w.owedMu.Lock()
		p, mark := w.owed, w.mark
		w.owed, w.mark = nil, nil
		if len(p) == 0 && mark == nil {
			w.flushing = false
			w.owedMu.Unlock()
			return
		}
		w.owedMu.Unlock()
		if mark != nil {
			mark(w.given)
			p = telnet.AppendVerb(p, telnet.DO, telnet.TimingMark)
		}
		// A failure shows to the reader and to the next writer; what is owed to a dead peer is nobody's loss.
		_, _ = w.conn.Write(p)
	}
}

// escapeds are what data is escaped into: a wire has one only while it writes.
var escapeds = sync.Pool{New: func() any { return new([]byte) }}

// writeData sends a piece of p as data, all of it where the peer is not slow, and returns how many bytes of p were given
// to TCP whole, also when it fails.
func (w *wire) writeData(p []byte) (n int, err error) {
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	n = min(len(p), pieceSize)
	if w.pacer != nil {
		n = w.pacer.Piece(len(p))
	}
	p = p[:n]
	nvt := w.nvt.Load()
	if !nvt && bytes.IndexByte(p, byte(telnet.IAC)) < 0 {
		n, err = w.conn.Write(p) // nothing to escape: these very bytes
	} else {
		n, err = w.writeEscaped(p, nvt)
	}
	w.given += uint64(n)
	return n, err
}

// writeEscaped escapes p and sends it. It returns as writeData; the caller holds writeMu.
func (w *wire) writeEscaped(p []byte, nvt bool) (n int, err error) {
	out := escapeds.Get().(*[]byte)
	defer escapeds.Put(out)
	if nvt {
		*out = telnet.AppendNVT((*out)[:0], p)
	} else {
		*out = telnet.AppendData((*out)[:0], p)
	}
	sent, err := w.conn.Write(*out)
	if err != nil {
		return unescaped(p, sent, nvt), err
	}
	return len(p), nil
}

// unescaped is how many bytes of p the first sent bytes of its escaped form are, the torn one not counted.
func unescaped(p []byte, sent int, nvt bool) int {
	for i, c := range p {
		sent--
		if c == byte(telnet.IAC) || nvt && c == '\r' && (i+1 == len(p) || p[i+1] != '\n') {
			sent--
		}
		if sent < 0 {
			return i
		}
	}
	return len(p)
}

// writeCommands sends whole commands in one segment.
func (w *wire) writeCommands(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	_, err := w.conn.Write(p)
	return err
}

// close sends FIN behind what was written and ends the connection; every blocked call returns.
func (w *wire) close() (err error) {
	w.closed.Do(func() {
		// With bytes unread, close alone would be a reset, and the peer might throw away what it has not read yet.
		if tcp, ok := w.conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		err = w.conn.Close()
	})
	return err
}
