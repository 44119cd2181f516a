package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/escape"
)

// eventSource is the name of all our services in the event log.
const eventSource = "telnetcpc"

// What the service manager does with a service that fails: again after 1, 5 and then each 30 seconds, and from the
// start after an hour in which it did not fail.
var recovery = []mgr.RecoveryAction{
	{Type: mgr.ServiceRestart, Delay: time.Second},
	{Type: mgr.ServiceRestart, Delay: 5 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 30 * time.Second},
}

const recoveryReset = uint32(time.Hour / time.Second)

// servicePatience is how long a service may take to start or to stop: a bridge lets its last bytes go out.
const servicePatience = 30 * time.Second

// gonePatience is how long one that was uninstalled may take to be gone; it stays as long as a window shows it.
const gonePatience = 10 * time.Second

func servicesHere() error { return nil }

func installService(c *cli.Context, s attachService) error {
	// What attach would complain of is better said now than in a log, later.
	if _, err := agent.NewBridge(s.config, slog.New(slog.DiscardHandler)); err != nil {
		return usageError{err}
	}
	host, _, err := chooseHost(hosts(), s.host)
	if err != nil {
		return usageError{err}
	}
	p := s.config
	p.Host = host
	log := newLog(errOut, s.verbose)
	if err := preparePort(c.Context, p, log); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("service install: %w", err)
	}
	if dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0); err == nil && openToOthers(exe, dir) {
		log.Warn("the service runs with the system's rights, and others may be able to write its program", "program", exe, "hint", "scripts/install.ps1")
	}
	return withManager("install", s, func(m *mgr.Mgr) error {
		made, err := m.CreateService(s.name(), exe, mgr.Config{
			StartType:    mgr.StartAutomatic,
			ErrorControl: mgr.ErrorNormal,
			DisplayName:  "telnetcpc " + s.port,
			Description:  fmt.Sprintf("Serial port %s from %s", s.port, s.config.Remote),
		}, append([]string{"service", "run"}, s.arguments...)...)
		switch {
		case errors.Is(err, windows.ERROR_SERVICE_EXISTS):
			return fmt.Errorf("%s is there already (telnetcpc service uninstall %s)", s.name(), s.port)
		case errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
			return notGoneError(s.name())
		case err != nil:
			return err
		}
		defer made.Close()
		if err := prepareService(made); err != nil {
			return errors.Join(err, made.Delete())
		}
		if err := startAndWait(c.Context, made); err != nil {
			return fmt.Errorf("%s is installed, but did not start: %w (telnetcpc service status %s)", s.name(), err, s.port)
		}
		_, err = fmt.Fprintf(c.App.Writer, "%s is installed and runs; its log is %s\n", s.name(), logFile(s.port))
		return err
	})
}

// prepareService gives a new service what CreateService cannot.
func prepareService(s *mgr.Service) error {
	if err := s.SetRecoveryActions(recovery, recoveryReset); err != nil {
		return fmt.Errorf("recovery actions: %w", err)
	}
	// A service that ends with an error has failed too, not only one that crashed. Wine does not know this setting.
	if err := s.SetRecoveryActionsOnNonCrashFailures(true); err != nil && !errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return fmt.Errorf("recovery actions: %w", err)
	}
	if err := makeLogDir(); err != nil {
		return err
	}
	// The source is that of all our services: it may be there already.
	if err := eventlog.InstallAsEventCreate(eventSource, eventlog.Info|eventlog.Warning|eventlog.Error); err != nil {
		if log, openErr := eventlog.Open(eventSource); openErr == nil {
			return log.Close()
		}
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

// notGoneError says that a service was uninstalled and is still there: Windows keeps it until nobody has it open.
func notGoneError(name string) error {
	return fmt.Errorf("the %s of before is not gone yet (close the window Services, then try again)", name)
}

func uninstallService(c *cli.Context, s attachService) error {
	err := withService("uninstall", s, func(m *mgr.Mgr, it *mgr.Service) error {
		if err := stopAndWait(c.Context, it); err != nil {
			return err
		}
		if err := it.Delete(); err != nil {
			return err
		}
		left, err := ourServices(m)
		if err != nil {
			return err
		}
		if left = slices.DeleteFunc(left, func(name string) bool { return name == s.name() }); len(left) == 0 {
			if err := eventlog.Remove(eventSource); err != nil && !errors.Is(err, registry.ErrNotExist) {
				return fmt.Errorf("event log: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return withManager("uninstall", s, func(m *mgr.Mgr) error { // our own handle is closed now
		state := "is uninstalled"
		if !awaitGone(c.Context, m, s.name()) {
			state += ", and goes when the window Services is closed"
		}
		_, err := fmt.Fprintf(c.App.Writer, "%s %s; its log stays in %s\n", s.name(), state, logFile(s.port))
		return err
	})
}

// awaitGone waits until a service that was deleted is gone: the manager may look at its last process a moment longer, and
// who installs it again at once would be refused. It reports whether it is.
func awaitGone(ctx context.Context, m *mgr.Mgr, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, gonePatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		it, err := m.OpenService(name)
		switch {
		case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
			return true
		case err == nil:
			_ = it.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

func startService(c *cli.Context, s attachService) error {
	return withService("start", s, func(_ *mgr.Mgr, it *mgr.Service) error { return startAndWait(c.Context, it) })
}

func stopService(c *cli.Context, s attachService) error {
	return withService("stop", s, func(_ *mgr.Mgr, it *mgr.Service) error { return stopAndWait(c.Context, it) })
}

// withManager lets do speak with the service manager, with all rights.
func withManager(what string, s attachService, do func(*mgr.Mgr) error) error {
	m, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return fmt.Errorf("service %s: an administrator's rights are missing (say it again in a command prompt opened by \"Run as administrator\")", what)
	}
	if err != nil {
		return fmt.Errorf("service %s: service manager: %w", what, err)
	}
	defer m.Disconnect()
	if err := do(m); err != nil {
		return fmt.Errorf("service %s: %w", what, err)
	}
	return nil
}

func withService(what string, s attachService, do func(*mgr.Mgr, *mgr.Service) error) error {
	return withManager(what, s, func(m *mgr.Mgr) error {
		it, err := m.OpenService(s.name())
		if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
			return noServiceError(s.name())
		}
		if err == nil {
			defer it.Close()
			err = do(m, it)
		}
		if errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) { // here, or at its second uninstall
			return notGoneError(s.name())
		}
		return err
	})
}

func startAndWait(ctx context.Context, s *mgr.Service) error {
	if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
		return err
	}
	return awaitState(ctx, s, svc.Running)
}

func stopAndWait(ctx context.Context, s *mgr.Service) error {
	now, err := s.Query()
	if err == nil && now.State != svc.StopPending { // one that stops already would refuse
		_, err = s.Control(svc.Stop)
	}
	if errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return nil
	}
	if err != nil {
		return err
	}
	return awaitState(ctx, s, svc.Stopped)
}

// awaitState waits until the service is in a state; the service manager can only be asked.
func awaitState(ctx context.Context, s *mgr.Service, want svc.State) error {
	ctx, cancel := context.WithTimeout(ctx, servicePatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := s.Query()
		if err != nil {
			return err
		}
		if now.State == want {
			return nil
		}
		if now.State == svc.Stopped {
			return fmt.Errorf("it ended at once: %s", stoppedText(now))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is still %s after %v", stateText(now.State), servicePatience)
		case <-tick.C:
		}
	}
}

// ourServices are the names of our services, in order.
func ourServices(m *mgr.Mgr) ([]string, error) {
	all, err := m.ListServices()
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(all, func(name string) bool { return !isOurService(name) })
	slices.Sort(names)
	return names, nil
}

// serviceStatus prints how a service stands, or all of ours. Everybody may ask.
func serviceStatus(w io.Writer, port string) error {
	h, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return fmt.Errorf("service status: service manager: %w", err)
	}
	m := &mgr.Mgr{Handle: h}
	defer m.Disconnect()
	show := func(name string) error { return printService(w, m, name) }
	if port != "" {
		err = show(serviceName(port))
	} else {
		var names []string
		if names, err = ourServices(m); err == nil {
			err = printServices(w, names, show)
		}
	}
	if err != nil {
		return fmt.Errorf("service status: %w", err)
	}
	return nil
}

// printServices shows the services of the names. One that has been uninstalled since they were listed is none.
func printServices(w io.Writer, names []string, show func(name string) error) error {
	shown := 0
	for _, name := range names {
		err := show(name)
		if errors.As(err, new(noServiceError)) {
			continue
		}
		if err != nil {
			return err
		}
		shown++
	}
	if shown > 0 {
		return nil
	}
	_, err := io.WriteString(w, "no service (telnetcpc service install COM9 URL)\n")
	return err
}

// noServiceError is the name of a service that is not there.
type noServiceError string

func (e noServiceError) Error() string {
	return fmt.Sprintf("there is no service %s (telnetcpc service status shows all)", string(e))
}

func printService(w io.Writer, m *mgr.Mgr, name string) error {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	h, err := windows.OpenService(m.Handle, p, windows.SERVICE_QUERY_STATUS|windows.SERVICE_QUERY_CONFIG)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return noServiceError(name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s := &mgr.Service{Name: name, Handle: h}
	defer s.Close()
	now, err := s.Query()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	line, err := commandLine(h)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	say := fmt.Sprintf("%s: %s", name, stateText(now.State))
	if now.ProcessId != 0 {
		say += fmt.Sprintf(", pid %d", now.ProcessId)
	}
	if now.State == svc.Stopped && now.Win32ExitCode != 0 {
		say += ": " + stoppedText(now)
	}
	_, err = fmt.Fprintf(w, "%s\n    %s\n    log in %s\n", say, escape.Line(line), logFile(strings.TrimPrefix(name, serviceName(""))))
	return err
}

// commandLine reads what the service manager runs. (mgr.Service.Config asks for more than every system knows.)
func commandLine(service windows.Handle) (string, error) {
	var buffer struct {
		config  windows.QUERY_SERVICE_CONFIG
		strings [7 << 10]byte // 8 KiB in all is the most that it ever wants
	}
	var need uint32
	if err := windows.QueryServiceConfig(service, &buffer.config, uint32(unsafe.Sizeof(buffer)), &need); err != nil {
		return "", err
	}
	return windows.UTF16PtrToString(buffer.config.BinaryPathName), nil
}

// stoppedText is why a service is stopped: its own exit status, or what Windows knows, as that it was killed, or never
// started since Windows was.
func stoppedText(s svc.Status) string {
	if code := syscall.Errno(s.Win32ExitCode); code != windows.ERROR_SERVICE_SPECIFIC_ERROR {
		return fmt.Sprintf("%v (%d)", code, s.Win32ExitCode)
	}
	return fmt.Sprintf("it ended with status %d", s.ServiceSpecificExitCode)
}

func stateText(s svc.State) string {
	switch s {
	case svc.Stopped:
		return "stopped"
	case svc.StartPending:
		return "starting"
	case svc.StopPending:
		return "stopping"
	case svc.Running:
		return "running"
	}
	return fmt.Sprintf("in state %d", s)
}
