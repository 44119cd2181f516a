package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"telnetcpc/bridge/asynclog"
	"telnetcpc/bridge/escape"
)

// The rules for everything that is printed:
//
//   - a command's result goes to standard output, log and errors go to standard error;
//   - an error is one line: what happened, to which thing, the remedy in parentheses; lower case, no full stop, the
//     program's name first;
//   - a log line is one event; its fields are port, remote, coding, up, down, err and the like;
//   - nothing from the network is printed unescaped;
//   - output while ports run goes through asynclog: a terminal may block, a port may not. The result of a command that then
//     ends is printed directly.

// errOut is standard error, for everything that this program writes to it: one Writer keeps the order.
var errOut = asynclog.New(os.Stderr, asynclog.LogNotice(func(w io.Writer) *slog.Logger { return newLog(w, false) }))

// flushTimeout bounds how long the program waits at its end for a terminal or a log that blocks.
const flushTimeout = time.Second

// printLast prints the error that ends the program, after everything printed before. If standard error blocks, it gives
// up after flushTimeout.
func printLast(w *asynclog.Writer, err error) {
	enough := make(chan struct{})
	defer time.AfterFunc(flushTimeout, func() { close(enough) }).Stop()
	w.WaitRoom(enough)
	fmt.Fprintf(w, "telnetcpc: %s\n", escape.Line(err.Error()))
}

// newLog returns the log of the commands that run in the foreground: one line per event, times without the date.
func newLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return newLogAt(w, level)
}

// newLogAt is newLog with a level.
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
