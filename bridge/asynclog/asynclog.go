// Package asynclog is a log that nobody waits for. Its reader may stop reading (`| less`, ^S, text selected in a Windows
// console, a disk that does not answer), and then whoever writes to it blocks. So lines go into bounded memory, and one
// goroutine writes them out; lines that do not fit are dropped and counted, and a line in their place says how many. It
// carries lines, whatever is in them: it knows no level, no port, no bridge.
package asynclog

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// room is how many bytes may wait. Once more as many may have been taken and be on their way.
	room = 128 << 10
	// piece is the most that is written at once, unless one line is longer: what others write to the same pipe never
	// comes between (PIPE_BUF of Linux).
	piece = 4 << 10
	// rounds bounds Close where the file takes something now and then: so many times its patience.
	rounds = 3
)

// Notice returns the line that replaces lines that are missing. err says why they could not be written; nil: there
// was no room for them.
type Notice func(lines uint64, err error) []byte

// LogNotice returns a Notice that is a line of a log. form returns a log that writes such lines.
func LogNotice(form func(io.Writer) *slog.Logger) Notice {
	return func(lines uint64, err error) []byte {
		var text bytes.Buffer
		if err != nil {
			form(&text).Warn("log lines were not written", "lines", lines, "err", err)
		} else {
			form(&text).Warn("log lines were not written: nobody read this log", "lines", lines)
		}
		return text.Bytes()
	}
}

// Writer is an io.Writer that never waits. Any goroutine may use it.
//
// Its goroutine is started by the first Write, and ended by Close once everything is written. Behind a file that takes
// nothing any more it stays in that write: no system can end one from outside.
type Writer struct {
	to     io.Writer
	notice Notice

	wake   chan struct{} // one slot: there is something to write, or Close was called
	taken  chan struct{} // one slot: there is room again
	ended  chan struct{} // closed when nothing is written any more
	pieces atomic.Uint64 // writes that have returned: Close sees by it whether the file takes anything

	// Of the goroutine alone: lines that could not be written since the last notice, and why.
	missing uint64
	cause   error

	mu              sync.Mutex // serialises all below; nothing waits under it
	waiting         []byte
	lost            uint64 // lines dropped since: they came after those that wait
	started, closed bool
}

// New returns a Writer in front of to, which gets whole lines, several at a time, and is used by one goroutine.
func New(to io.Writer, notice Notice) *Writer {
	return &Writer{
		to: to, notice: notice,
		wake: make(chan struct{}, 1), taken: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// Write takes p, which must be whole lines, or drops and counts them. It copies p. The error is os.ErrClosed after
// Close; that p was dropped is none.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, os.ErrClosed
	}
	if w.lost > 0 || len(w.waiting)+len(p) > room { // once one is lost all are, until its place is marked
		w.lost += lines(p)
	} else {
		w.waiting = append(w.waiting, p...)
	}
	if !w.started {
		w.started = true
		go w.run()
	}
	signal(w.wake)
	return len(p), nil
}

// WaitRoom waits until half of the room is free, for a writer that has the time, and so leaves the other half to those
// that do not wait. It returns false when done is closed before. One goroutine at a time may call it.
func (w *Writer) WaitRoom(done <-chan struct{}) bool {
	for {
		w.mu.Lock()
		ok := w.lost == 0 && len(w.waiting) <= room/2
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-w.taken:
		case <-done:
			return false
		}
	}
}

// Close lets what was taken be written, as long as the file takes something each patience, three times that at most. It
// returns true when everything is written or has failed, and false where it has given up: then the file is still in
// use. Every call but the first only waits.
func (w *Writer) Close(patience time.Duration) bool {
	w.mu.Lock()
	if !w.closed && !w.started {
		close(w.ended)
	}
	w.closed = true
	w.mu.Unlock()
	signal(w.wake)
	for range rounds {
		before := w.pieces.Load()
		select {
		case <-w.ended:
			return true
		case <-time.After(patience):
		}
		if w.pieces.Load() == before {
			return false
		}
	}
	return false
}

// run writes what comes, until everything of a closed log is written.
func (w *Writer) run() {
	defer close(w.ended)
	var out []byte
	for {
		var lost uint64
		var closed bool
		out, lost, closed = w.take(out[:0])
		if len(out) == 0 && lost == 0 {
			if closed {
				return
			}
			<-w.wake
			continue
		}
		for p := out; len(p) > 0; {
			n := cut(p)
			w.put(p[:n])
			p = p[n:]
		}
		w.missing += lost
		w.tell()
	}
}

// take returns what waits, and the number of lines that were dropped after it. The memory of empty is for what waits
// next.
func (w *Writer) take(empty []byte) (waiting []byte, lost uint64, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting, lost = w.waiting, w.lost
	w.waiting, w.lost = empty, 0
	signal(w.taken)
	return waiting, lost, w.closed
}

// put writes p, after a notice of what is missing before it.
func (w *Writer) put(p []byte) {
	if !w.tell() {
		w.missing += lines(p)
		return
	}
	n, err := w.to.Write(p)
	w.pieces.Add(1)
	if err != nil {
		w.missing, w.cause = lines(p[n:]), err
	}
}

// tell says what is missing; false: not even that could be written.
func (w *Writer) tell() bool {
	if w.missing == 0 {
		return true
	}
	_, err := w.to.Write(w.notice(w.missing, w.cause))
	w.pieces.Add(1)
	if w.cause = err; err != nil {
		return false
	}
	w.missing = 0
	return true
}

// cut returns how much of p is written at once.
func cut(p []byte) int {
	if len(p) <= piece {
		return len(p)
	}
	if i := bytes.LastIndexByte(p[:piece], '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(p[piece:], '\n'); i >= 0 {
		return piece + i + 1
	}
	return len(p)
}

// lines counts lines; one without an end is one too.
func lines(p []byte) uint64 {
	n := bytes.Count(p, []byte{'\n'})
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return uint64(n)
}

// signal puts a word into a channel of one slot.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
