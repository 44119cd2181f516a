package accessserver

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// countsEvery is how often the counts are logged.
	countsEvery = 10 * time.Second
	// fullLimit is how many connections a minute are logged in full: with the counts, at most ten lines a minute, whatever
	// connects.
	fullLimit = 4
	// fullAgain is the pause after which the next connection of a kind is logged in full again.
	fullAgain = time.Minute
)

// The kinds of connections without a session, as the log names them.
const (
	kindNotAllowed = "not allowed"
	kindTLS        = "no TLS with it"
	kindInUse      = "in use"
	kindCutOff     = "cut off"
	kindSilent     = "silent"
	kindRaw        = "raw bytes"
	kindNoComPort  = "without COM-PORT-OPTION"
	kindProtocol   = "broken protocol"
	kindLeft       = "left"
	kindNotOpened  = "port not opened"
)

// refusals logs connections that get no session, and keeps the log short whatever connects: the first connection of a
// kind is logged in full, the following ones are counted, and a line every countsEvery has the counts of each kind. It
// counts by kind, which loglimit, the limit for the lines about sessions, cannot do. Its methods may be called from any
// goroutine.
type refusals struct {
	out *slog.Logger

	mu    sync.Mutex // guards everything below; held while a line is logged, which keeps the lines in order
	kinds map[string]*kindCount
	full  []time.Time // when lines were logged in full, in the last minute
	alarm *time.Timer // for the next line of counts; nil: nothing was counted
}

type kindCount struct {
	text string    // of the last line in full
	last time.Time // when the last connection came
	more int       // connections since the last line
}

// log logs or counts a connection. A text that differs from the last one of its kind is logged in full again.
func (t *refusals) log(kind, text string, level slog.Level, line string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.kinds == nil {
		t.kinds = make(map[string]*kindCount)
	}
	k := t.kinds[kind]
	known := k != nil && k.text == text && now.Sub(k.last) < fullAgain
	if k == nil {
		k = new(kindCount)
		t.kinds[kind] = k
	}
	k.last = now
	t.full = slices.DeleteFunc(t.full, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if !known && len(t.full) < fullLimit {
		k.text = text
		t.full = append(t.full, now)
		t.out.Log(context.Background(), level, line, args...)
		return
	}
	k.more++
	if t.alarm == nil {
		t.alarm = time.AfterFunc(countsEvery, t.flush)
	}
}

// forget makes sure that the next connection of this kind is logged in full.
func (t *refusals) forget(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.kinds[kind]; k != nil {
		k.text = ""
	}
}

// flush logs the counts. alarm calls it, and Serve when it ends.
func (t *refusals) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.alarm == nil {
		return
	}
	t.alarm.Stop()
	t.alarm = nil
	var args []any
	for _, kind := range []string{
		kindNotAllowed, kindTLS, kindInUse, kindCutOff, kindSilent, kindRaw, kindNoComPort, kindProtocol, kindLeft, kindNotOpened,
	} {
		if k := t.kinds[kind]; k != nil && k.more > 0 {
			args = append(args, kind, k.more)
			k.more = 0
		}
	}
	t.out.Info(fmt.Sprintf("more clients got no session within %v", countsEvery), args...)
}
