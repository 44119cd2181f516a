package winservice

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows/svc"
)

// process runs a service's Execute with an attach that obeys the test; the test is the service manager.
type process struct {
	requests chan svc.ChangeRequest
	now      chan svc.Status
	fails    chan error
	ready    chan<- Sleeper
	closed   bool
	result   chan [2]uint32 // specific as 1, code
}

func startProcess(t *testing.T) *process {
	t.Helper()
	p := &process{
		requests: make(chan svc.ChangeRequest), now: make(chan svc.Status), fails: make(chan error),
		result: make(chan [2]uint32, 1),
	}
	attached := make(chan chan<- Sleeper)
	service := Process{
		Port: "COM9",
		openLog: func() (*slog.Logger, func()) {
			return slog.New(slog.NewTextHandler(io.Discard, nil)), func() { p.closed = true }
		},
		Attach: func(ctx context.Context, _ *slog.Logger, ready chan<- Sleeper) error {
			attached <- ready
			select {
			case <-ctx.Done():
				return nil
			case err := <-p.fails:
				return err
			}
		},
		Status: func(error) int { return 3 },
	}
	go func() {
		specific, code := service.Execute(nil, p.requests, p.now)
		result := [2]uint32{0, code}
		if specific {
			result[0] = 1
		}
		p.result <- result
	}()
	if s := <-p.now; s.State != svc.StartPending {
		t.Errorf("at first: got state %d", s.State)
	}
	p.ready = <-attached
	if s := <-p.now; s.State != svc.Running || s.Accepts != svc.AcceptStop|svc.AcceptShutdown|svc.AcceptPowerEvent {
		t.Errorf("then: got state %d, accepts %#x", s.State, s.Accepts)
	}
	return p
}

func (p *process) ends(t *testing.T, specific, code uint32) {
	t.Helper()
	if got := <-p.result; got != [2]uint32{specific, code} || !p.closed {
		t.Errorf("got %v, log closed %v, want %d, %d", got, p.closed, specific, code)
	}
}

func TestServiceStops(t *testing.T) {
	for _, how := range []svc.Cmd{svc.Stop, svc.Shutdown} {
		p := startProcess(t)
		p.requests <- svc.ChangeRequest{Cmd: svc.Interrogate, CurrentStatus: svc.Status{State: svc.Running, CheckPoint: 7}}
		if s := <-p.now; s.CheckPoint != 7 {
			t.Errorf("interrogated: got %+v", s)
		}
		p.requests <- svc.ChangeRequest{Cmd: how}
		if s := <-p.now; s.State != svc.StopPending || s.WaitHint == 0 {
			t.Errorf("stopping: got %+v", s)
		}
		p.ends(t, 0, 0)
	}
}

// A service that fails ends with an error and the status of it, so that the service manager starts it again.
func TestServiceFails(t *testing.T) {
	p := startProcess(t)
	p.fails <- errors.New("no driver")
	p.ends(t, 1, 3)
}

// bed is a bridge that only sleeps and wakes.
type bed struct{ calls chan string }

func (b bed) Sleep() { b.calls <- "sleep" }
func (b bed) Wake()  { b.calls <- "wake" }

func TestServiceSleeps(t *testing.T) {
	p := startProcess(t)
	event := func(e uint32) { p.requests <- svc.ChangeRequest{Cmd: svc.PowerEvent, EventType: e} }
	b := bed{make(chan string, 10)}
	event(powerSuspend) // before there is anything that could sleep
	p.ready <- b
	got := []string{<-b.calls}
	for _, e := range []uint32{powerResumeAtFirst, powerResumeByUser, 0x0A /* PBT_APMPOWERSTATUSCHANGE */, powerSuspend, powerSuspend, powerResumeLost} {
		event(e)
	}
	p.requests <- svc.ChangeRequest{Cmd: svc.Stop}
	<-p.now
	p.ends(t, 0, 0)
	close(b.calls)
	for word := range b.calls {
		got = append(got, word)
	}
	if want := []string{"sleep", "wake", "sleep", "wake"}; !slices.Equal(got, want) {
		t.Errorf("the bridge got %v, want %v", got, want)
	}
}

// Why a service is stopped: Windows' 1066 means that the service has a status of its own.
func TestStoppedText(t *testing.T) {
	own := stoppedText(svc.Status{State: svc.Stopped, Win32ExitCode: 1066, ServiceSpecificExitCode: 3})
	if own != "it ended with status 3" {
		t.Errorf("own status: got %q", own)
	}
	if killed := stoppedText(svc.Status{State: svc.Stopped, Win32ExitCode: 1067}); !strings.HasSuffix(killed, " (1067)") || strings.Contains(killed, "status") {
		t.Errorf("Windows' reason: got %q", killed)
	}
}
