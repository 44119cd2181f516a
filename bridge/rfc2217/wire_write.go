package rfc2217

import (
	"bytes"
	"net"
	"sync"

	"telnetcpc/bridge/telnet"
)

// sender lets several goroutines write to the socket, one at a time. The goroutine whose turn it is writes with no lock held,
// and after its own bytes writes what was queued meanwhile: answers, a mark, FIN. A goroutine is started for the queue only
// while no writer has the turn. So the reader, and callers of Mark and CloseWrite, never wait for a writer.
type sender struct {
	limit  int           // of owed, in bytes; constant
	ending chan struct{} // closed when nothing more may be written: FIN is queued, or the session is closed

	owedMu   sync.Mutex // serialises changes of the fields below; never held over I/O
	turn     sync.Cond  // signalled when a turn ends; broadcast when no turn will be granted any more
	writing  bool       // a goroutine has the turn
	waiting  int        // writers that wait for the turn
	owed     []byte     // answers that wait to be written
	mark     markState
	markAt   uint64 // how many data bytes were written before the mark; from markSent on
	fin      finState
	closed   bool
	flushing bool // a goroutine has been started to write what is owed, and has not begun

	sent uint64 // data bytes given to TCP, before escaping; owned by the goroutine that has the turn
}

// markState is the state of the one mark (TIMING-MARK) that may be under way.
type markState uint8

const (
	noMark    markState = iota
	markOwed            // requested
	markTaken           // a writer is about to send it
	markSent            // its answer may come
)

// finState is the state of the FIN that closes our half of the connection.
type finState uint8

const (
	noFIN finState = iota
	finOwed
	finSent // or a writer is about to send it
)

// batch is what a writer has taken to send after its own bytes.
type batch struct {
	answers   []byte
	mark, fin bool
}

// owesAnything reports whether anything is queued. The caller holds owedMu.
func (w *wire) owesAnything() bool { return len(w.owed) > 0 || w.mark == markOwed || w.fin == finOwed }

// takeOwed removes what is queued and returns it, for the caller to send. The caller holds owedMu.
func (w *wire) takeOwed() batch {
	d := batch{answers: w.owed, mark: w.mark == markOwed, fin: w.fin == finOwed}
	w.owed = nil
	if d.mark {
		w.mark = markTaken
	}
	if d.fin {
		w.fin = finSent
	}
	return d
}

// begin waits for the turn and takes what is queued. It fails with net.ErrClosed if nothing more may be written.
func (w *wire) begin() (batch, error) {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	for w.writing && !w.closed && w.fin == noFIN {
		w.waiting++
		w.turn.Wait()
		w.waiting--
	}
	if w.closed || w.fin != noFIN {
		return batch{}, net.ErrClosed
	}
	w.writing = true
	return w.takeOwed(), nil
}

// end sends what was queued during the turn and ends it. It does so once: if a peer keeps sending requests, a goroutine
// takes over, so that the caller returns.
func (w *wire) end() {
	d, more := w.nextBatch()
	if !more {
		return
	}
	w.sendBatch(d)
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	w.writing = false
	w.turn.Signal()
	w.startFlush()
}

// nextBatch takes what is queued. If nothing is, or if a waiting writer will send it, nextBatch ends the turn.
func (w *wire) nextBatch() (d batch, more bool) {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.owesAnything() && !w.closed && (w.waiting == 0 || w.fin != noFIN) {
		return w.takeOwed(), true
	}
	w.writing = false
	w.turn.Signal()
	return d, false
}

// startFlush starts a goroutine that sends what is queued, unless a writer has the turn and will send it. The caller
// holds owedMu.
func (w *wire) startFlush() {
	if w.owesAnything() && !w.writing && !w.flushing && !w.closed {
		w.flushing = true
		go w.flush() // ends when nothing is queued, or when the connection fails: Close makes it fail
	}
}

func (w *wire) flush() {
	w.owedMu.Lock()
	w.flushing = false
	if w.writing || w.closed || !w.owesAnything() { // a writer has sent it, or will
		w.owedMu.Unlock()
		return
	}
	w.writing = true
	d := w.takeOwed()
	w.owedMu.Unlock()
	for more := true; more; d, more = w.nextBatch() {
		w.sendBatch(d)
	}
}

// sendBatch sends what was queued. It ignores a failure: the reader and the next writer will see it. The caller has the
// turn.
func (w *wire) sendBatch(d batch) {
	out := buffers.Get().(*[]byte)
	if *out = w.appendBatch((*out)[:0], d, w.sent); len(*out) > 0 {
		_, _ = w.conn.Write(*out)
	}
	buffers.Put(out)
	if half, ok := w.conn.(interface{ CloseWrite() error }); ok && d.fin {
		_ = half.CloseWrite()
	}
}

// appendBatch appends the answers and the mark, whose position in the data is after. The mark counts as sent before the
// write, since its answer may come before the write returns.
func (w *wire) appendBatch(p []byte, d batch, after uint64) []byte {
	p = append(p, d.answers...)
	if d.mark {
		w.owedMu.Lock()
		w.mark, w.markAt = markSent, after
		w.owedMu.Unlock()
		p = telnet.AppendVerb(p, telnet.DO, telnet.TimingMark)
	}
	return p
}

// owe queues p, to be sent as soon as no writer has the turn. It never blocks. p is copied.
func (w *wire) owe(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.closed || w.fin != noFIN {
		return nil // nothing more can be sent
	}
	if len(w.owed)+len(p) > w.limit {
		return errOwed
	}
	w.owed = append(w.owed, p...)
	w.startFlush()
	return nil
}

// askMark queues a mark after the data that is written or being written, unless one is under way. It reports whether one is
// under way now. It never blocks.
func (w *wire) askMark() bool {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.closed || w.fin != noFIN {
		return false
	}
	if w.mark == noMark {
		w.mark = markOwed
		w.startFlush()
	}
	return true
}

// takeMark takes the answer to the mark and returns how many data bytes came before the mark; false: none was under way.
func (w *wire) takeMark() (at uint64, was bool) {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.mark != markSent {
		return 0, false
	}
	w.mark = noMark
	return w.markAt, true
}

// buffers are for bytes that must be assembled before a write: a wire has one only while it writes.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// writeData sends the beginning of p as data: more if the peer is fast (see pacer). n is how many bytes of p were given
// to TCP, also if it fails; half of an escaped byte does not count.
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
		n, err = w.conn.Write(p) // nothing to escape: no copy
	} else {
		n, err = w.writeEscaped(p, nvt, d)
	}
	w.sent += uint64(n)
	return n, err
}

// writeEscaped escapes p and sends it with a batch in one call: a copy costs less than a second call. The answers go
// first: p may be the device's answer to bytes that came after the request. It returns n as writeData does. The caller
// has the turn.
func (w *wire) writeEscaped(p []byte, nvt bool, d batch) (n int, err error) {
	out := buffers.Get().(*[]byte)
	defer buffers.Put(out)
	*out = append((*out)[:0], d.answers...)
	if nvt {
		*out = telnet.AppendNVT(*out, p)
	} else {
		*out = telnet.AppendData(*out, p)
	}
	*out = w.appendBatch(*out, batch{mark: d.mark}, w.sent+uint64(len(p)))
	sent, err := w.conn.Write(*out)
	if err != nil {
		return unescaped(p, sent-len(d.answers), nvt), err
	}
	return len(p), nil
}

// unescaped returns how many whole bytes of p are in the first sent bytes of its escaped form.
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

// writeCommands sends whole commands, then what is queued, in one write. It takes ownership of p.
func (w *wire) writeCommands(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	d, err := w.begin()
	if err != nil {
		return err
	}
	defer w.end()
	_, err = w.conn.Write(w.appendBatch(p, d, w.sent))
	return err
}

// notify sends what is queued, then unsolicited commands, in one write. It copies p.
func (w *wire) notify(p []byte) error {
	d, err := w.begin()
	if err != nil {
		return err
	}
	defer w.end()
	_, err = w.conn.Write(append(w.appendBatch(nil, d, w.sent), p...))
	return err
}

// closeWrite queues FIN after what is written and queued, if the connection can be half-closed; nothing more is written.
// A write that is blocked fails: otherwise a peer that does not read would delay FIN for ever. It never blocks.
func (w *wire) closeWrite() {
	w.owedMu.Lock()
	defer w.owedMu.Unlock()
	if w.closed || w.fin != noFIN {
		return
	}
	w.fin = finOwed
	close(w.ending)
	if w.writing {
		_ = w.conn.SetWriteDeadline(past())
	}
	w.turn.Broadcast()
	w.startFlush()
}

// close sends FIN after what was written and closes the connection; every blocked call returns. What is queued is dropped. It
// blocks no longer than the connection's Close.
func (w *wire) close() (err error) {
	w.owedMu.Lock()
	was := w.closed
	w.closed = true
	if !was && w.fin == noFIN {
		close(w.ending)
	}
	w.turn.Broadcast()
	w.owedMu.Unlock()
	if was {
		return nil
	}
	// With bytes unread, close alone would send a reset, and the peer might drop what it has not read yet.
	if tcp, ok := w.conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	return w.conn.Close()
}
