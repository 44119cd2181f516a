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

// memory watches what is in use, as often as it looks.
type memory struct {
	base, baseSys uint64

	mu   sync.Mutex // one look at a time
	most uint64
}

func newMemory() *memory {
	m := &memory{}
	m.base, m.baseSys = inUse()
	return m
}

// watch looks until done is closed.
func (m *memory) watch(done <-chan struct{}) {
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		m.look()
		select {
		case <-done:
			return
		case <-look.C:
		}
	}
}

// look finds how much is kept now. What is only being handed on is not: where it is too much it looks again, for a second,
// until it is not.
func (m *memory) look() {
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

// grown is how much more was in use than at the beginning, and how much more of the system's memory was ever taken.
func (m *memory) grown() (kept, peak int64) {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(m.most) - int64(m.base), int64(s.HeapSys) - int64(m.baseSys)
}

// inUse is what the collector has just found in use, not what was thrown away since; and what the system has lent.
func inUse() (live, sys uint64) {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return sample[0].Value.Uint64(), s.HeapSys
}

// logbook is a handler that keeps what a bridge logs at its usual level, and looks at each word of it.
type logbook struct {
	began time.Time

	mu        sync.Mutex
	lines     []string // the first of them
	count     int      // of those that the application and the end of the test do not cause
	unordered int      // of those in unordered
	wrong     []string
}

const (
	linesKept = 100
	lineMost  = 1 << 10
)

func (*logbook) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler         { return l }
func (l *logbook) WithGroup(string) slog.Handler              { return l }

// own are the messages that the application and the end of the test cause.
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
	l.look(line)
	return nil
}

// look notes what must not be in a line for people. The caller holds mu.
func (l *logbook) look(line string) {
	switch {
	case len(l.wrong) >= linesKept:
	case len(line) > lineMost:
		l.wrong = append(l.wrong, fmt.Sprintf("a line of %d bytes: %.200q", len(line), line))
	case !printable(line):
		l.wrong = append(l.wrong, fmt.Sprintf("bytes that are not escaped: %q", line))
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
