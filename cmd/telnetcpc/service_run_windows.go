package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"gopkg.in/natefinch/lumberjack.v2"

	"telnetcpc/bridge/agent"
)

// stopHint is how long the service manager should believe that a stop goes on, in milliseconds: the bridge lets the
// last bytes go out.
const stopHint = 20_000

// runService is what the service manager starts. It always asks it for work: whether this process was started by it
// cannot be known everywhere.
func runService(_ *cli.Context, s attachService) error {
	err := svc.Run(s.name(), &serviceProcess{attachService: s})
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return usagef("service run: only Windows can start it (telnetcpc service start %s; or telnetcpc attach, in the foreground)", s.port)
	}
	if err != nil {
		return fmt.Errorf("service run: %w", err)
	}
	return nil
}

// serviceProcess is the service's side of the talk with the service manager.
type serviceProcess struct {
	attachService
}

// Execute implements svc.Handler: it runs one attach until the service manager wants it to stop, or it fails; then the
// service has failed, and is started again.
func (s *serviceProcess) Execute(_ []string, requests <-chan svc.ChangeRequest, now chan<- svc.Status) (specific bool, code uint32) {
	now <- svc.Status{State: svc.StartPending}
	log, closeLog := s.openLog()
	defer closeLog()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	// Ends when the context does, or when the port cannot be made or is lost.
	go func() { ended <- s.attach(ctx, log) }()
	now <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown}
	log.Info("service started")
	for {
		select {
		case err := <-ended:
			return s.end(log, err)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				now <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				now <- svc.Status{State: svc.StopPending, WaitHint: stopHint}
				cancel()
				return s.end(log, <-ended)
			}
		}
	}
}

// end says in the exit status how the attach ended: an error is a failure, after which the service is started again.
func (s *serviceProcess) end(log *slog.Logger, err error) (specific bool, code uint32) {
	if err != nil {
		log.Error("service failed", "err", err)
		return true, uint32(status(err))
	}
	log.Info("service stopped")
	return false, 0
}

// attach is the attach of a service. The whole of it is done here, not before the service manager is asked for work: a
// driver that is not there yet at the start of Windows is a failure that is tried again.
func (s *serviceProcess) attach(ctx context.Context, log *slog.Logger) error {
	p := s.config
	var err error
	if p.Host, _, err = chooseHost(hosts(), s.host); err != nil {
		return err
	}
	if err := preparePort(ctx, p, log); err != nil {
		return err
	}
	b, err := agent.NewBridge(p, log)
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

// logDir is where services log; only administrators may write there.
func logDir() string { return filepath.Join(os.Getenv("ProgramData"), "telnetcpc") }

func logFile(port string) string { return filepath.Join(logDir(), serviceName(port)+".log") }

// openLog opens the service's file, which is begun anew when it is large, and the event log. A log that cannot be
// opened does not keep a service from its work.
func (s *serviceProcess) openLog() (log *slog.Logger, closeAll func()) {
	level := slog.LevelInfo
	if s.verbose {
		level = slog.LevelDebug
	}
	file := &lumberjack.Logger{Filename: logFile(s.port), MaxSize: logMegabytes, MaxBackups: logFiles}
	handlers := []slog.Handler{slog.NewTextHandler(file, &slog.HandlerOptions{Level: level})}
	closers := []io.Closer{file}
	if events, err := eventlog.Open(eventSource); err == nil {
		handlers = append(handlers, newEventHandler(events))
		closers = append(closers, events)
	}
	return slog.New(slog.NewMultiHandler(handlers...)).With("port", s.port), func() {
		for _, c := range closers {
			_ = c.Close()
		}
	}
}

// A service's log is at most so large, and so many older files are kept.
const (
	logMegabytes = 10
	logFiles     = 3
)
