package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"gopkg.in/natefinch/lumberjack.v2"

	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/asynclog"
)

// What Windows tells of power, from WinUser.h.
const (
	powerSuspend       = 0x04 // PBT_APMSUSPEND
	powerResumeLost    = 0x06 // PBT_APMRESUMECRITICAL
	powerResumeByUser  = 0x07 // PBT_APMRESUMESUSPEND, some time behind the next
	powerResumeAtFirst = 0x12 // PBT_APMRESUMEAUTOMATIC
)

// stopHint is how long the service manager should believe that a stop goes on, in milliseconds: the bridge lets the
// last bytes go out.
const stopHint = 20_000

// A service's log file is at most so large, and so many older ones are kept.
const (
	logMegabytes = 10
	logFiles     = 3
)

// runService is what the service manager starts. It always asks it for work: whether this process was started by it
// cannot be known everywhere.
func runService(_ *cli.Context, s attachService) error {
	err := svc.Run(s.name(), serviceProcess{s.port, s.openLog, s.attach})
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return usagef("service run: only Windows can start it (telnetcpc service start %s; or telnetcpc attach, in the foreground)", s.port)
	}
	if err != nil {
		return fmt.Errorf("service run: %w", err)
	}
	return nil
}

// sleeper is what must know that the machine goes to sleep and wakes: a bridge.
type sleeper interface {
	Sleep()
	Wake()
}

// serviceProcess is the service's side of the talk with the service manager.
type serviceProcess struct {
	port    string
	openLog func() (log *slog.Logger, closeLog func())
	// attach works until the context ends (nil), or it fails. Once it has something that must know of sleep, it sends
	// it: the channel has room for it.
	attach func(ctx context.Context, log *slog.Logger, ready chan<- sleeper) error
}

// Execute implements svc.Handler: it runs one attach until the service manager wants it to stop, or it fails; then the
// service has failed, and is started again.
func (p serviceProcess) Execute(_ []string, requests <-chan svc.ChangeRequest, now chan<- svc.Status) (specific bool, code uint32) {
	now <- svc.Status{State: svc.StartPending}
	log, closeLog := p.openLog()
	defer closeLog()
	own := log.With("port", p.port) // the bridge says it itself
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := make(chan sleeper, 1)
	ended := make(chan error, 1)
	// Ends when the context does, or when the port cannot be made or is lost.
	go func() { ended <- p.attach(ctx, log, ready) }()
	own.Info(saysStarted)
	now <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPowerEvent}
	var power power
	for {
		select {
		case err := <-ended:
			return endService(own, err)
		case power.of = <-ready:
			power.tell()
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				now <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				now <- svc.Status{State: svc.StopPending, WaitHint: stopHint}
				cancel()
				return endService(own, <-ended)
			case svc.PowerEvent:
				power.event(r.EventType, own)
			}
		}
	}
}

// endService says in the exit status how the attach ended: an error is a failure.
func endService(log *slog.Logger, err error) (specific bool, code uint32) {
	if err != nil {
		log.Error(saysFailed, "err", err)
		return true, uint32(status(err))
	}
	log.Info(saysStopped)
	return false, 0
}

// power carries what Windows says of sleep to the bridge, also what it said before there was one.
type power struct {
	of     sleeper
	asleep bool
}

func (p *power) event(event uint32, log *slog.Logger) {
	was := p.asleep
	switch event {
	case powerSuspend:
		p.asleep = true
	case powerResumeAtFirst, powerResumeByUser, powerResumeLost:
		p.asleep = false
	}
	if p.asleep != was {
		log.Info("the machine sleeps or wakes", "asleep", p.asleep)
		p.tell()
	}
}

func (p *power) tell() {
	switch {
	case p.of == nil:
	case p.asleep:
		p.of.Sleep()
	default:
		p.of.Wake()
	}
}

// attach is the attach of a service. The whole of it is done here, not before the service manager is asked for work: a
// driver that is not there yet at the start of Windows is a failure that is tried again.
func (s attachService) attach(ctx context.Context, log *slog.Logger, ready chan<- sleeper) error {
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
	ready <- b
	return b.Run(ctx)
}

func logFile(port string) string { return filepath.Join(logDir(), serviceName(port)+".log") }

// openLog opens the service's file, which is begun anew when it is large, and the event log. A log that cannot be
// opened does not keep a service from its work, and neither does one that stands still.
func (s attachService) openLog() (log *slog.Logger, closeLog func()) {
	level := slog.LevelInfo
	if s.verbose {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	var handlers []slog.Handler
	var closers []func()
	behind := func(lines *asynclog.Writer, file io.Closer) func() {
		return func() {
			if lines.Close(sayPatience) { // else it is in use, and its Close would wait too
				_ = file.Close()
			}
		}
	}
	dirErr := makeLogDir()
	if dirErr == nil {
		file := &lumberjack.Logger{Filename: logFile(s.port), MaxSize: logMegabytes, MaxBackups: logFiles}
		lines := asynclog.New(file, missingIn(func(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, options)) }))
		handlers = append(handlers, slog.NewTextHandler(lines, options))
		closers = append(closers, behind(lines, file))
	}
	events, eventErr := eventlog.Open(eventSource)
	if eventErr == nil {
		queue, lines := newEventQueue(events)
		handlers = append(handlers, newEventHandler(queue))
		closers = append(closers, behind(lines, events))
	}
	log = slog.New(slog.NewMultiHandler(handlers...))
	if err := errors.Join(dirErr, eventErr); err != nil {
		log.Warn("a log is missing", "port", s.port, "err", err)
	}
	return log, func() {
		for _, closeOne := range closers {
			closeOne()
		}
	}
}
