package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"telnetcpc/bridge"
)

// The rules for everything that is printed:
//
//   - what a command was asked for goes to standard output; log and errors go to standard error;
//   - an error is one line: what happened, to which thing, the way out in parentheses; lower case, no full stop, the
//     program's name in front;
//   - a log line is one event, its fields are port, remote, coding, up, down, err and their like;
//   - nothing from the network is printed unescaped.

// newLog returns the log of the commands that run in the foreground: times without the date, one line an event.
func newLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return newLogAt(w, level)
}

// newLogAt is newLog with a level of its own.
func newLogAt(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
			}
			return a
		},
	}))
}

// oneLine makes a text fit for a terminal: line breaks and control characters escaped.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// showRecords prints what passes a bridge until done is closed: bytes in both ways, quoted, and events.
func showRecords(w io.Writer, o *bridge.Observer, done <-chan struct{}) {
	for {
		select {
		case r := <-o.Records():
			fmt.Fprintln(w, recordLine(r))
		case <-done:
			return
		}
	}
}

// recordLine writes a record as "15:04:05.000 up   5 "hello"".
func recordLine(r bridge.Record) string {
	at := r.Time.Format("15:04:05.000")
	if r.Data == nil {
		return fmt.Sprintf("%s %-4s %s", at, r.Way, oneLine(r.Event.String()))
	}
	return fmt.Sprintf("%s %-4s %d %s", at, r.Way, len(r.Data), quote(r.Data))
}

// quoteMost bounds how many bytes of one record are shown.
const quoteMost = 256

func quote(p []byte) string {
	if len(p) > quoteMost {
		return strconv.QuoteToASCII(string(p[:quoteMost])) + "..."
	}
	return strconv.QuoteToASCII(string(p))
}

func stderr() io.Writer { return os.Stderr }
