package winservice

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"telnetcpc/bridge/asynclog"
	"telnetcpc/bridge/escape"
)

// eventID numbers what a service writes to the event log. People filter by these numbers and programs watch for them: they
// do not change.
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

// Log messages with numbers of their own. A test checks that the bridge still logs its three.
const (
	logStarted   = "service started"
	logStopped   = "service stopped"
	logFailed    = "service failed"
	logConnected = "session up"
	logLost      = "session lost"
	logNoSession = "no session; trying again"
)

// eventWriter is the system's event log.
type eventWriter interface {
	Info(id uint32, text string) error
	Warning(id uint32, text string) error
	Error(id uint32, text string) error
}

// eventQueue is an event log that never blocks its callers: each event goes through asynclog as one line.
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

// newEventQueue returns a queue before to. The caller closes the Writer.
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

// eventLines writes the lines of an eventQueue to the event log.
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
		write := l.to.Info
		switch level {
		case "warning":
			write = l.to.Warning
		case "error":
			write = l.to.Error
		}
		if err := write(id, text); err != nil {
			return done, err
		}
		done += len(line)
	}
	return done, nil
}

// eventHandler is a slog handler that writes the main events to the event log. The file has the rest.
type eventHandler struct {
	to         eventWriter
	attributes string       // of With, as text
	connected  *atomic.Bool // the last event was that the session is up: sessions that come and go are not repeated
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
	line := escape.Line(text.String())
	switch {
	case r.Level >= slog.LevelError:
		return h.to.Error(uint32(id), line)
	case r.Level >= slog.LevelWarn:
		return h.to.Warning(uint32(id), line)
	}
	return h.to.Info(uint32(id), line)
}

// number returns a record's number; 0 means that it is for the file alone.
func (h eventHandler) number(r slog.Record) eventID {
	switch r.Message {
	case logStarted:
		return eventStarted
	case logStopped:
		return eventStopped
	case logFailed:
		return eventFailed
	case logConnected:
		if h.connected.Swap(true) {
			return 0
		}
		return eventConnected
	case logLost:
		h.connected.Store(false)
		return eventLost
	case logNoSession:
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

// WithGroup ignores the group: our logs have none.
func (h eventHandler) WithGroup(string) slog.Handler { return h }

func attributeText(a slog.Attr) string { return fmt.Sprintf(" %s=%v", a.Key, a.Value.Resolve()) }
