package winservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

// Power events, from WinUser.h.
const (
	powerSuspend       = 0x04 // PBT_APMSUSPEND
	powerResumeLost    = 0x06 // PBT_APMRESUMECRITICAL
	powerResumeByUser  = 0x07 // PBT_APMRESUMESUSPEND, some time after the next
	powerResumeAtFirst = 0x12 // PBT_APMRESUMEAUTOMATIC
)

// stopHint is how long the service manager should wait for a stop, in milliseconds: the bridge sends its last bytes first.
const stopHint = 20_000

// Sleeper is told when the machine goes to sleep and wakes: a bridge.
type Sleeper interface {
	Sleep()
	Wake()
}

// Process is what a service does.
type Process struct {
	Port    string // COM9
	Verbose bool   // log at debug level

	// Attach works until the context ends (nil), or it fails. Once it has something that must know of the machine's sleep
	// it sends it: the channel has room for it.
	Attach func(ctx context.Context, log *slog.Logger, ready chan<- Sleeper) error

	// Status is the exit status for an error of Attach.
	Status func(error) int

	openLog func() (log *slog.Logger, closeLog func()) // nil: a file and the event log
}

// Run lets the service manager run the service, and returns when it has ended. It always asks the service manager first:
// whether this process was started by it cannot be known on every system. The error is ErrNotStarted if it was not.
func Run(p Process) error {
	err := svc.Run(Name(p.Port), p)
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return ErrNotStarted
	}
	if err != nil {
		return fmt.Errorf("service run: %w", err)
	}
	return nil
}

// Execute implements svc.Handler: it runs Attach until the service manager stops the service, or Attach fails; then the
// service has failed, and the service manager starts it again.
func (p Process) Execute(_ []string, requests <-chan svc.ChangeRequest, now chan<- svc.Status) (specific bool, code uint32) {
	now <- svc.Status{State: svc.StartPending}
	openLog := p.openLog
	if openLog == nil {
		openLog = func() (*slog.Logger, func()) { return openLogs(p.Port, p.Verbose) }
	}
	log, closeLog := openLog()
	defer closeLog()
	own := log.With("port", p.Port) // the bridge adds it itself
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := make(chan Sleeper, 1)
	ended := make(chan error, 1)
	// Ends when the context does, or when the port cannot be made or is lost.
	go func() { ended <- p.Attach(ctx, log, ready) }()
	own.Info(logStarted)
	now <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPowerEvent}
	var power power
	for {
		select {
		case err := <-ended:
			return p.end(own, err)
		case power.of = <-ready:
			power.pass()
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				now <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				now <- svc.Status{State: svc.StopPending, WaitHint: stopHint}
				cancel()
				return p.end(own, <-ended)
			case svc.PowerEvent:
				power.event(r.EventType, own)
			}
		}
	}
}

// end turns the end of Attach into the service's exit status: an error is a failure.
func (p Process) end(log *slog.Logger, err error) (specific bool, code uint32) {
	if err != nil {
		log.Error(logFailed, "err", err)
		return true, uint32(p.Status(err))
	}
	log.Info(logStopped)
	return false, 0
}

// power passes the machine's sleep on to the bridge, also when the machine went to sleep before there was a bridge.
type power struct {
	of     Sleeper
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
		p.pass()
	}
}

func (p *power) pass() {
	switch {
	case p.of == nil:
	case p.asleep:
		p.of.Sleep()
	default:
		p.of.Wake()
	}
}
