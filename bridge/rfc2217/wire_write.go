package rfc2217

import (
	"bytes"
	"net"
	"sync"
	"time"

	"telnetcpc/bridge/telnet"
)

// door is how writes come to the socket: one at a time, in turns. Whoever has the turn stands in conn.Write with no lock
// held, and sends what has come to be owed (answers, a mark, FIN) behind his own; a goroutine is started for it only
// while nobody has the turn. So neither the reader, nor who asks for a mark or for FIN, ever waits for a writer.
type door struct {
	limit int // of owed; constant

	owedMu  sync.Mutex // over everything below but given; held over no I/O
	turn    sync.Cond  // the turn has ended, or will come to nobody any more
	writing bool       // somebody has the turn
	waiting int        // writers who want it
	owed    []byte     // answers
	mark    markState
	markAt  uint64 // its place: the data bytes before it; from markSent on
	fin     finState
	over    bool // closed
	paying  bool // a goroutine is on its way to send what is owed

	ending chan struct{} // closed when nothing may be written any more: FIN is owed, or all is closed

	given uint64 // data bytes given to TCP, before escaping; only of who has the turn
}

// markState is how far the one mark is.
type markState uint8

const (
	noMark   markState = iota
	markOwed           // asked for
	markHeld           // in a writer's hands
	markSent           // its answer may come
)

// finState is how far the end of our half is.
type finState uint8

const (
	noFIN finState = iota
	finOwed
	finSent // or in a writer's hands
)

// debt is what a writer sends behind his own.
type debt struct {
	answers   []byte
	mark, fin bool
}

// owes reports whether anything is owed. The caller holds owedMu.
func (w *wire) owes() bool { return len(w.owed) > 0 || w.mark == markOwed || w.fin == finOwed }

// takeDebt puts what is owed into a writer's hands. The caller holds owedMu.
func (w *wire) takeDebt() debt {
	d := debt{answers: w.owed, mark: w.mark == markOwed, fin: w.fin == finOwed}
	w.owed = nil
	if d.mark {
		w.mark = markHeld
	}
	if d.fin {
		w.fin = finSent
	}
	return d
}

// begin waits for the turn, and takes what is owed. It fails where nothing may be written any more.
func (w *wire) begin() (debt, error) {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	for w.writing && !w.over && w.fin == noFIN {
		w.waiting++
		w.turn.Wait()
		w.waiting--
	}
	if w.over || w.fin != noFIN {
		return debt{}, net.ErrClosed
	}
	w.writing = true
	return w.takeDebt(), nil
}

// end ends the turn, once what has come to be owed meanwhile is sent too. The caller sends it once: should the peer ask
// on and on, a goroutine has the turn from him.
func (w *wire) end() {
	d, more := w.next()
	if !more {
		return
	}
	w.pay(d)
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	w.writing = false
	w.turn.Signal()
	w.startPaying()
}

// next takes what is owed; where nothing is, or a writer waits who will send it, the turn has ended.
func (w *wire) next() (d debt, more bool) {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.owes() && !w.over && (w.waiting == 0 || w.fin != noFIN) {
		return w.takeDebt(), true
	}
	w.writing = false
	w.turn.Signal()
	return d, false
}

// startPaying starts the goroutine that sends what is owed, unless somebody has the turn, who will. The caller holds
// owedMu.
func (w *wire) startPaying() {
	if w.owes() && !w.writing && !w.paying && !w.over {
		w.paying = true
		go w.payAll() // ends when nothing is owed, or the connection fails: Close makes it fail
	}
}

func (w *wire) payAll() {
	w.owedMu.Lock()
	w.paying = false
	if w.writing || w.over || !w.owes() { // somebody was faster
		w.owedMu.Unlock()
		return
	}
	w.writing = true
	d := w.takeDebt()
	w.owedMu.Unlock()
	for more := true; more; d, more = w.next() {
		w.pay(d)
	}
}

// pay sends what is owed. A failure shows to the reader and to the next writer; what is owed to a dead peer is nobody's
// loss. The caller has the turn.
func (w *wire) pay(d debt) {
	out := escapeds.Get().(*[]byte)
	if *out = w.appendDebt((*out)[:0], d, w.given); len(*out) > 0 {
		_, _ = w.conn.Write(*out)
	}
	escapeds.Put(out)
	if half, ok := w.conn.(interface{ CloseWrite() error }); ok && d.fin {
		_ = half.CloseWrite()
	}
}

// appendDebt appends what is owed but FIN, behind so many bytes of data: the mark's answer may come before the write of
// it returns.
func (w *wire) appendDebt(p []byte, d debt, behind uint64) []byte {
	p = append(p, d.answers...)
	if d.mark {
		w.owedMu.Lock()
		w.mark, w.markAt = markSent, behind
		w.owedMu.Unlock()
		p = telnet.AppendVerb(p, telnet.DO, telnet.TimingMark)
	}
	return p
}

// owe has p sent as soon as nobody else writes. It never blocks.
func (w *wire) owe(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.over || w.fin != noFIN {
		return nil // it can be told nothing any more
	}
	if len(w.owed)+len(p) > w.limit {
		return errOwed
	}
	w.owed = append(w.owed, p...)
	w.startPaying()
	return nil
}

// askMark has a mark sent behind the data that is, or is being, written, where none is under way, and reports whether one
// is. It never blocks.
func (w *wire) askMark() bool {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.over || w.fin != noFIN {
		return false
	}
	if w.mark == noMark {
		w.mark = markOwed
		w.startPaying()
	}
	return true
}

// marked takes the answer to the mark, and returns its place; false: none was waited for.
func (w *wire) marked() (at uint64, was bool) {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.mark != markSent {
		return 0, false
	}
	w.mark = noMark
	return w.markAt, true
}

// escapeds are what bytes are put together in: a wire has one only while it writes.
var escapeds = sync.Pool{New: func() any { return new([]byte) }}

// writeData sends a piece of p as data, all of it where the peer is not slow, and returns how many bytes of p were given
// to TCP whole, also when it fails.
func (w *wire) writeData(p []byte) (n int, err error) {
	d, err := w.begin()
	if err != nil {
		return 0, err
	}
	defer w.end()
	n = min(len(p), pieceSize)
	if w.pacer != nil {
		n = w.pacer.Piece(len(p))
	}
	p = p[:n]
	nvt := w.nvt.Load()
	if !nvt && !d.mark && len(d.answers) == 0 && bytes.IndexByte(p, byte(telnet.IAC)) < 0 {
		n, err = w.conn.Write(p) // nothing to escape: these very bytes
	} else {
		n, err = w.writeEscaped(p, nvt, d)
	}
	w.given += uint64(n)
	return n, err
}

// writeEscaped escapes p and sends it with what is owed, in the same call: a copy costs less than a second call. Answers go
// before it: it may be what the device says to bytes that came after the question. It returns as writeData; the caller has
// the turn.
func (w *wire) writeEscaped(p []byte, nvt bool, d debt) (n int, err error) {
	out := escapeds.Get().(*[]byte)
	defer escapeds.Put(out)
	*out = append((*out)[:0], d.answers...)
	if nvt {
		*out = telnet.AppendNVT(*out, p)
	} else {
		*out = telnet.AppendData(*out, p)
	}
	*out = w.appendDebt(*out, debt{mark: d.mark}, w.given+uint64(len(p)))
	sent, err := w.conn.Write(*out)
	if err != nil {
		return unescaped(p, sent-len(d.answers), nvt), err
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

// writeCommands sends whole commands, and what is owed behind them, in one segment. p is the caller's no more.
func (w *wire) writeCommands(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	d, err := w.begin()
	if err != nil {
		return err
	}
	defer w.end()
	_, err = w.conn.Write(w.appendDebt(p, d, w.given))
	return err
}

// tell sends whole commands that nobody has asked for, in one segment with what is owed, and behind that.
func (w *wire) tell(p []byte) error {
	d, err := w.begin()
	if err != nil {
		return err
	}
	defer w.end()
	_, err = w.conn.Write(append(w.appendDebt(nil, d, w.given), p...))
	return err
}

// closeWrite has FIN sent behind what is written and owed, where the connection has half an end; nothing is written any
// more. Whoever stands in a write is cut short there: what he has not given to TCP would keep FIN waiting as long as a
// peer that does not read. It never blocks.
func (w *wire) closeWrite() {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.over || w.fin != noFIN {
		return
	}
	w.fin = finOwed
	close(w.ending)
	if w.writing {
		_ = w.conn.SetWriteDeadline(time.Unix(1, 0))
	}
	w.turn.Broadcast()
	w.startPaying()
}

// close sends FIN behind what was written and ends the connection; every blocked call returns. It never blocks, where the
// connection's Close does not. What is owed stays so.
func (w *wire) close() (err error) {
	w.owedMu.Lock()
	was := w.over
	w.over = true
	if !was && w.fin == noFIN {
		close(w.ending)
	}
	w.turn.Broadcast()
	w.owedMu.Unlock()
	if was {
		return nil
	}
	// With bytes unread, close alone would be a reset, and the peer might throw away what it has not read yet.
	if tcp, ok := w.conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	return w.conn.Close()
}
