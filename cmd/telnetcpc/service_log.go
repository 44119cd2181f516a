package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"telnetcpc/bridge/asynclog"
	"telnetcpc/bridge/escape"
)

// eventID numbers what a service says in the system's event log. The numbers are for people who filter by them and for
// programs that watch: they stay.
type eventID uint32

const (
	eventStarted   eventID = 1
	eventStopped   eventID = 2
	eventFailed    eventID = 3
	eventConnected eventID = 10
	eventLost      eventID = 11
	eventNoSession eventID = 12
	eventWarning   eventID = 20 // any other warning; the text says which
)

// Messages that have numbers of their own. Those of the bridge's log are held to its words by a test.
const (
	saysStarted   = "service started"
	saysStopped   = "service stopped"
	saysFailed    = "service failed"
	saysConnected = "session stands"
	saysLost      = "session lost"
	saysNoSession = "no session; trying again"
)

// eventWriter is the system's event log.
type eventWriter interface {
	Info(id uint32, text string) error
	Warning(id uint32, text string) error
	Error(id uint32, text string) error
}

// eventQueue is an event log that nobody waits for: what it is given goes to events by way of asynclog, a line each.
type eventQueue struct{ lines *asynclog.Writer }

func (q eventQueue) Info(id uint32, text string) error    { return q.add("info", id, text) }
func (q eventQueue) Warning(id uint32, text string) error { return q.add("warning", id, text) }
func (q eventQueue) Error(id uint32, text string) error   { return q.add("error", id, text) }

func (q eventQueue) add(level string, id uint32, text string) error {
	_, err := q.lines.Write(eventLine(level, id, text))
	return err
}

func eventLine(level string, id uint32, text string) []byte {
	return fmt.Appendf(nil, "%s %d %s\n", level, id, escape.Line(text))
}

// newEventQueue returns a queue in front of to. The Writer is to be closed.
func newEventQueue(to eventWriter) (eventQueue, *asynclog.Writer) {
	lines := asynclog.New(eventLines{to}, func(n uint64, err error) []byte {
		text := fmt.Sprintf("%d events were not written: the event log did not take them", n)
		if err != nil {
			text += fmt.Sprintf(" err=%v", err)
		}
		return eventLine("warning", uint32(eventWarning), text)
	})
	return eventQueue{lines}, lines
}

// eventLines gives the lines of an eventQueue to the event log.
type eventLines struct{ to eventWriter }

func (l eventLines) Write(p []byte) (int, error) {
	done := 0
	for line := range strings.Lines(string(p)) {
		var level string
		var id uint32
		if _, err := fmt.Sscan(line, &level, &id); err != nil {
			return done, fmt.Errorf("event %q: %w", line, err)
		}
		text := strings.TrimSuffix(strings.SplitN(line, " ", 3)[2], "\n")
		say := l.to.Info
		switch level {
		case "warning":
			say = l.to.Warning
		case "error":
			say = l.to.Error
		}
		if err := say(id, text); err != nil {
			return done, err
		}
		done += len(line)
	}
	return done, nil
}

// eventHandler is a log that writes the few main things to the event log. What is not worth a number is for the file.
type eventHandler struct {
	to         eventWriter
	attributes string       // of With, in words
	connected  *atomic.Bool // the last word was that the session stands: sessions that come and go are not news
}

func newEventHandler(to eventWriter) eventHandler {
	return eventHandler{to: to, connected: new(atomic.Bool)}
}

func (h eventHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h eventHandler) Handle(_ context.Context, r slog.Record) error {
	var text strings.Builder
	text.WriteString(r.Message + h.attributes)
	r.Attrs(func(a slog.Attr) bool {
		text.WriteString(attributeText(a))
		return true
	})
	id := h.number(r)
	if id == 0 {
		return nil
	}
	say := escape.Line(text.String())
	switch {
	case r.Level >= slog.LevelError:
		return h.to.Error(uint32(id), say)
	case r.Level >= slog.LevelWarn:
		return h.to.Warning(uint32(id), say)
	}
	return h.to.Info(uint32(id), say)
}

// number returns a record's number; 0: it is for the file alone.
func (h eventHandler) number(r slog.Record) eventID {
	switch r.Message {
	case saysStarted:
		return eventStarted
	case saysStopped:
		return eventStopped
	case saysFailed:
		return eventFailed
	case saysConnected:
		if h.connected.Swap(true) {
			return 0
		}
		return eventConnected
	case saysLost:
		h.connected.Store(false)
		return eventLost
	case saysNoSession:
		h.connected.Store(false)
		return eventNoSession
	}
	if r.Level >= slog.LevelWarn {
		return eventWarning
	}
	return 0
}

func (h eventHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	for _, a := range attributes {
		h.attributes += attributeText(a)
	}
	return h
}

// WithGroup is for nobody here: our logs have no groups.
func (h eventHandler) WithGroup(string) slog.Handler { return h }

func attributeText(a slog.Attr) string { return fmt.Sprintf(" %s=%v", a.Key, a.Value.Resolve()) }
