// Package asynclog is an io.Writer for a log that must not block the program. The reader of a log may stop reading (`|
// less`, ^S, text selected in a Windows console, a disk that does not answer), and then a write to it blocks. So lines go
// into bounded memory, and one goroutine writes them out. Lines that do not fit are dropped and counted, and a line in
// their place has the number. The package knows only lines, no port and no bridge.
//
// The commands, demo and capture use it for standard output and standard error, winservice for a service's log.
// ptyhost/aside does the same one layer higher, for log records: a host must not block in the handler that its user
// passes, and cannot know whether that handler ends in an asynclog. asynclog must hold much more (the lines of a whole
// program, at every level), report write errors, and be flushed at exit; aside holds a few records. So there are two.
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
	// room is how many bytes may wait. As many again may be with the goroutine that writes.
	room = 128 << 10
	// piece is the most that is written at once, unless one line is longer: then no other writer to the same pipe can split a
	// line (PIPE_BUF of Linux).
	piece = 4 << 10
	// rounds limits how long Close waits for a slow file, in multiples of its patience.
	rounds = 3
)

// Notice returns the line that takes the place of missing lines. err is why they could not be written; nil: there was no room
// for them.
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

// Writer is an io.Writer that never blocks. Its methods may be called from any goroutine.
//
// Its goroutine is started by the first Write, and ended by Close once everything is written. If the file blocks for good, the
// goroutine stays in that write: no system can end one from outside.
type Writer struct {
	to     io.Writer
	notice Notice

	wake   chan struct{} // one slot: there is something to write, or Close was called
	taken  chan struct{} // one slot: there is room again
	ended  chan struct{} // closed when nothing will be written any more
	pieces atomic.Uint64 // writes that have returned: shows Close whether the file accepts anything

	// Only the goroutine's: lines that could not be written since the last notice, and why.
	missing uint64
	cause   error

	mu              sync.Mutex // guards everything below; never held over I/O
	waiting         []byte
	lost            uint64 // lines dropped after the waiting ones
	started, closed bool
}

// New returns a Writer for the file to, which gets whole lines, several per Write, from one goroutine.
func New(to io.Writer, notice Notice) *Writer {
	return &Writer{
		to: to, notice: notice,
		wake: make(chan struct{}, 1), taken: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// Write copies p, which must be whole lines, or drops and counts them, which is not an error. After Close it returns
// os.ErrClosed.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, os.ErrClosed
	}
	// After a lost line all lines are dropped until the goroutine takes the count: the notice must be in its right place.
	if w.lost > 0 || len(w.waiting)+len(p) > room {
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

// WaitRoom waits until half of the room is free, for a writer that can wait: it leaves the other half to those that cannot. It
// returns false if done is closed first. It may be called by one goroutine at a time.
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

// Close waits until all lines are written, as long as the file accepts something within each patience, and for three
// times patience at most. It returns true once everything is written or has failed, and false if it gave up: then the
// file is still in use. Later calls only wait.
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

// run is the goroutine: it writes what comes, until the log is closed and everything is written.
func (w *Writer) run() {
	defer close(w.ended)
	var out []byte
	for {
		var lost uint64
		var closed bool
		out, lost, closed = w.takeWaiting(out[:0])
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
		w.notify()
	}
}

// takeWaiting removes and returns the waiting lines, and the number of lines that were dropped after them. The memory of
// empty is used for the next lines.
func (w *Writer) takeWaiting(empty []byte) (waiting []byte, lost uint64, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting, lost = w.waiting, w.lost
	w.waiting, w.lost = empty, 0
	signal(w.taken)
	return waiting, lost, w.closed
}

// put writes p, after a notice of lines missing before it.
func (w *Writer) put(p []byte) {
	if !w.notify() {
		w.missing += lines(p)
		return
	}
	n, err := w.to.Write(p)
	w.pieces.Add(1)
	if err != nil {
		w.missing, w.cause = lines(p[n:]), err
	}
}

// notify writes a notice if lines are missing; false: not even that could be written.
func (w *Writer) notify() bool {
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

// cut returns how many bytes of p to write at once.
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

// lines counts lines; an unfinished one counts too.
func lines(p []byte) uint64 {
	n := bytes.Count(p, []byte{'\n'})
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return uint64(n)
}

// signal fills a channel of one slot.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
