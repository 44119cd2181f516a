package winservice

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"golang.org/x/sys/windows/svc/eventlog"
	"gopkg.in/natefinch/lumberjack.v2"

	"telnetcpc/bridge/asynclog"
)

const (
	logMegabytes = 10 // a log file's size at which a new one is begun
	logFiles     = 3  // how many older ones are kept
)

// LogFile is the log of a port's service.
func LogFile(port string) string { return filepath.Join(logDir(), Name(port)+".log") }

// openLogs opens the service's log file and the event log. A service works without a log that cannot be opened, and waits
// for none that takes nothing.
func openLogs(port string, verbose bool) (log *slog.Logger, closeLog func()) {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	var handlers []slog.Handler
	var closers []func()
	closer := func(lines *asynclog.Writer, file io.Closer) func() {
		return func() {
			if lines.Close(flushTimeout) { // otherwise file is in use, and its Close would block too
				_ = file.Close()
			}
		}
	}
	dirErr := makeLogDir()
	if dirErr == nil {
		file := &lumberjack.Logger{Filename: LogFile(port), MaxSize: logMegabytes, MaxBackups: logFiles}
		lines := asynclog.New(file, asynclog.LogNotice(func(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, options)) }))
		handlers = append(handlers, slog.NewTextHandler(lines, options))
		closers = append(closers, closer(lines, file))
	}
	events, eventErr := eventlog.Open(eventSource)
	if eventErr == nil {
		queue, lines := newEventQueue(events)
		handlers = append(handlers, newEventHandler(queue))
		closers = append(closers, closer(lines, events))
	}
	log = slog.New(slog.NewMultiHandler(handlers...))
	if err := errors.Join(dirErr, eventErr); err != nil {
		log.Warn("a log is missing", "port", port, "err", err)
	}
	return log, func() {
		for _, closeOne := range closers {
			closeOne()
		}
	}
}
