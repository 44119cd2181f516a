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
	// tallyEvery is how often the log says how many more there were.
	tallyEvery = 10 * time.Second
	// fullMost is how many lines a minute say in full what happened to one connection: with the counts, ten lines a minute
	// at most, whatever comes.
	fullMost = 4
	// saidAgain is after how long without one of its kind the next is said in full again.
	saidAgain = time.Minute
)

// The kinds of connections that come to nothing, as the log counts them.
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

// tally keeps the log short whatever connects: the first connection of a kind that comes to nothing is logged in full, the
// following ones are counted, and a line every tallyEvery says how many of each kind there were. It counts by kind, which
// loglimit, the limit for the lines of sessions, cannot. Its methods may be called from any goroutine.
type tally struct {
	log *slog.Logger

	mu    sync.Mutex // over everything below; held over a line of the log, which keeps their order
	kinds map[string]*kindTally
	full  []time.Time // of the last lines in full, within a minute
	alarm *time.Timer // of the next counts; nil: nothing is counted
}

type kindTally struct {
	text string    // of the line that was said in full
	last time.Time // when there was one
	more int       // not said yet
}

// say is for a connection that came to nothing. text is what of the line makes the kind: another text is said in full
// again.
func (t *tally) say(kind, text string, level slog.Level, line string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.kinds == nil {
		t.kinds = make(map[string]*kindTally)
	}
	k := t.kinds[kind]
	known := k != nil && k.text == text && now.Sub(k.last) < saidAgain
	if k == nil {
		k = new(kindTally)
		t.kinds[kind] = k
	}
	k.last = now
	t.full = slices.DeleteFunc(t.full, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if !known && len(t.full) < fullMost {
		k.text = text
		t.full = append(t.full, now)
		t.log.Log(context.Background(), level, line, args...)
		return
	}
	k.more++
	if t.alarm == nil {
		t.alarm = time.AfterFunc(tallyEvery, t.flush)
	}
}

// forget has the next of this kind said in full.
func (t *tally) forget(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.kinds[kind]; k != nil {
		k.text = ""
	}
}

// flush says what was counted. It runs when the alarm goes off, and at the end of Serve.
func (t *tally) flush() {
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
	t.log.Info(fmt.Sprintf("more clients got no session within %v", tallyEvery), args...)
}
