package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
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

// Messages of the bridge's log that have numbers of their own; a test holds them to the bridge's words.
const (
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
	say := oneLine(text.String())
	switch {
	case r.Message == saysConnected && !h.connected.Swap(true):
		return h.to.Info(uint32(eventConnected), say)
	case r.Level < slog.LevelWarn:
		return nil
	case r.Level >= slog.LevelError:
		return h.to.Error(uint32(eventFailed), say)
	}
	id := eventWarning
	switch r.Message {
	case saysLost:
		id = eventLost
		h.connected.Store(false)
	case saysNoSession:
		id = eventNoSession
		h.connected.Store(false)
	}
	return h.to.Warning(uint32(id), say)
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
