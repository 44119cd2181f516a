//go:build unix

package hostile

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// memory measures the growth of the heap.
type memory struct {
	base, baseSys uint64

	mu   sync.Mutex // one sample at a time; guards most
	most uint64
}

func newMemory() *memory {
	m := &memory{}
	m.base, m.baseSys = inUse()
	return m
}

// watch samples until done is closed.
func (m *memory) watch(done <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		m.sample()
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// sample measures how much is kept now. Buffers in transit are not kept: if it is too much, it measures again for up to a
// second.
func (m *memory) sample() {
	m.mu.Lock()
	defer m.mu.Unlock()
	least := ^uint64(0)
	for range 20 {
		now, _ := inUse()
		if least = min(least, now); least <= m.base+keptMost {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	m.most = max(m.most, least)
}

// grown returns how much more was in use than at the beginning, and how much more memory was obtained from the system.
func (m *memory) grown() (kept, peak int64) {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(m.most) - int64(m.base), int64(s.HeapSys) - int64(m.baseSys)
}

// inUse returns the live heap after a collection, and the memory obtained from the system.
func inUse() (live, sys uint64) {
	runtime.GC()
	read := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(read)
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return read[0].Value.Uint64(), s.HeapSys
}

// logbook is a slog handler that keeps what a bridge logs at its default level, and checks each line.
type logbook struct {
	began time.Time

	mu        sync.Mutex
	lines     []string // the first linesKept lines
	count     int      // of lines that neither the application nor the end of the test causes
	unordered int      // of lines in unordered
	wrong     []string
}

const (
	linesKept = 100
	lineMost  = 1 << 10
)

func (*logbook) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler         { return l }
func (l *logbook) WithGroup(string) slog.Handler              { return l }

// own lists the messages that the application and the end of the test cause.
var own = map[string]bool{"port ready": true, "port opened": true, "settings": true, "port closed": true, "session closed": true}

// unordered are the other messages about a session that the bridge itself has closed (bridge/phase.go): how far the session had
// come when the row ended depends on the machine. A row causes at most one of them.
var unordered = map[string]bool{
	"session closed; unknown whether the access server read everything":  true,
	"session closed before everything was sent":                          true,
	"session closed with device bytes that the application had not read": true,
}

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%s", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case unordered[r.Message]:
		l.unordered++
	case !own[r.Message]:
		l.count++
	}
	if len(l.lines) < linesKept {
		l.lines = append(l.lines, fmt.Sprintf("%5.1fs %v %.*s", time.Since(l.began).Seconds(), r.Level, lineMost, line))
	}
	l.check(line)
	return nil
}

// check records what must not be in a log line. The caller holds mu.
func (l *logbook) check(line string) {
	switch {
	case len(l.wrong) >= linesKept:
	case len(line) > lineMost:
		l.wrong = append(l.wrong, fmt.Sprintf("a line of %d bytes: %.200q", len(line), line))
	case !printable(line):
		l.wrong = append(l.wrong, fmt.Sprintf("unescaped bytes: %q", line))
	}
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func (l *logbook) all() (lines []string, count, unordered int, wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...), l.count, l.unordered, append([]string(nil), l.wrong...)
}
