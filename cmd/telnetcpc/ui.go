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
//   - what a command was asked for goes to standard output; log and errors go to standard error;
//   - an error is one line: what happened, to which thing, the way out in parentheses; lower case, no full stop, the
//     program's name in front;
//   - a log line is one event, its fields are port, remote, coding, up, down, err and their like;
//   - nothing from the network is printed unescaped;
//   - what goes on while ports run is printed through asynclog: a terminal may stand still, a port may not. What a
//     command was asked for, and then ends, is printed straight.

// errOut is standard error, for all that this program says there: one Writer keeps the order.
var errOut = asynclog.New(os.Stderr, asynclog.LogNotice(func(w io.Writer) *slog.Logger { return newLog(w, false) }))

// sayPatience is how long the end of the program waits for a terminal or a log that takes nothing.
const sayPatience = time.Second

// sayLast prints the error that ends the program, behind all that was said before. Where nobody reads, it gives up soon.
func sayLast(w *asynclog.Writer, err error) {
	enough := make(chan struct{})
	defer time.AfterFunc(sayPatience, func() { close(enough) }).Stop()
	w.WaitRoom(enough)
	fmt.Fprintf(w, "telnetcpc: %s\n", escape.Line(err.Error()))
}

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
