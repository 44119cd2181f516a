package winservice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"telnetcpc/bridge/escape"
)

// eventSource is the name of all our services in the event log.
const eventSource = "telnetcpc"

// recovery is what the service manager does when a service fails: it starts it again after 1, 5 and then every 30 seconds,
// and begins at 1 again after recoveryReset without a failure.
var recovery = []mgr.RecoveryAction{
	{Type: mgr.ServiceRestart, Delay: time.Second},
	{Type: mgr.ServiceRestart, Delay: 5 * time.Second},
	{Type: mgr.ServiceRestart, Delay: 30 * time.Second},
}

// recoveryReset is an hour, in seconds.
const recoveryReset = uint32(time.Hour / time.Second)

// stateTimeout bounds how long a service may take to start or to stop: a bridge sends its last bytes first.
const stateTimeout = 30 * time.Second

// goneTimeout bounds how long a service may take to disappear after it was deleted; it stays as long as a window shows it.
const goneTimeout = 10 * time.Second

// Config is a service to install.
type Config struct {
	Port        string   // COM9
	Description string   // for the window Services
	Arguments   []string // of this program, which the service manager starts
}

// Install makes the service of a port, which starts with Windows, and starts it.
func Install(ctx context.Context, config Config) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("service install: %w", err)
	}
	name := Name(config.Port)
	return withManager("install", func(m *mgr.Mgr) error {
		made, err := m.CreateService(name, exe, mgr.Config{
			StartType:    mgr.StartAutomatic,
			ErrorControl: mgr.ErrorNormal,
			DisplayName:  "telnetcpc " + config.Port,
			Description:  config.Description,
		}, config.Arguments...)
		switch {
		case errors.Is(err, windows.ERROR_SERVICE_EXISTS):
			return fmt.Errorf("%s exists already (telnetcpc service uninstall %s)", name, config.Port)
		case errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
			return notGoneError(name)
		case err != nil:
			return err
		}
		defer made.Close()
		if err := prepare(made); err != nil {
			return errors.Join(err, made.Delete())
		}
		if err := startAndWait(ctx, made); err != nil {
			return fmt.Errorf("%s is installed, but did not start: %w (telnetcpc service status %s)", name, err, config.Port)
		}
		return nil
	})
}

// ProgramAtRisk returns this program's path, and whether others than administrators may be able to write it: a service runs
// it with the system's rights.
func ProgramAtRisk() (path string, atRisk bool) {
	path, err := os.Executable()
	if err != nil {
		return "", false // Install reports it
	}
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0)
	return path, err == nil && openToOthers(path, dir)
}

// prepare gives a new service what CreateService cannot.
func prepare(s *mgr.Service) error {
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
	// All our services share the source: it may exist already.
	if err := eventlog.InstallAsEventCreate(eventSource, eventlog.Info|eventlog.Warning|eventlog.Error); err != nil {
		if log, openErr := eventlog.Open(eventSource); openErr == nil {
			return log.Close()
		}
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

// notGoneError is for a service that was uninstalled and still exists: Windows keeps it until nobody has it open.
func notGoneError(name string) error {
	return fmt.Errorf("the previous %s is not gone yet (close the window Services, then try again)", name)
}

// Uninstall stops and deletes the service of a port. Its log stays. gone is false if the service exists until the window
// Services is closed.
func Uninstall(ctx context.Context, port string) (gone bool, err error) {
	name := Name(port)
	err = withService("uninstall", name, func(m *mgr.Mgr, s *mgr.Service) error {
		if err := stopAndWait(ctx, s); err != nil {
			return err
		}
		if err := s.Delete(); err != nil {
			return err
		}
		left, err := ourServices(m)
		if err != nil {
			return err
		}
		if left = slices.DeleteFunc(left, func(other string) bool { return other == name }); len(left) == 0 {
			if err := eventlog.Remove(eventSource); err != nil && !errors.Is(err, registry.ErrNotExist) {
				return fmt.Errorf("event log: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	err = withManager("uninstall", func(m *mgr.Mgr) error { // our own handle is closed now
		gone = awaitGone(ctx, m, name)
		return nil
	})
	return gone, err
}

// awaitGone waits until a deleted service is gone, and reports whether it is: the manager may need its last process for a
// moment longer, and an install at once would be refused.
func awaitGone(ctx context.Context, m *mgr.Mgr, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := m.OpenService(name)
		switch {
		case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
			return true
		case err == nil:
			_ = s.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// Start starts the service of a port and waits until it runs.
func Start(ctx context.Context, port string) error {
	return withService("start", Name(port), func(_ *mgr.Mgr, s *mgr.Service) error { return startAndWait(ctx, s) })
}

// Stop stops the service of a port and waits until it has stopped.
func Stop(ctx context.Context, port string) error {
	return withService("stop", Name(port), func(_ *mgr.Mgr, s *mgr.Service) error { return stopAndWait(ctx, s) })
}

// withManager runs do with the service manager, opened with all rights. what is the command, for the error.
func withManager(what string, do func(*mgr.Mgr) error) error {
	m, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return fmt.Errorf("service %s: administrator rights are missing (use a command prompt opened by \"Run as administrator\")", what)
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

func withService(what, name string, do func(*mgr.Mgr, *mgr.Service) error) error {
	return withManager(what, func(m *mgr.Mgr) error {
		s, err := m.OpenService(name)
		if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
			return noServiceError(name)
		}
		if err == nil {
			defer s.Close()
			err = do(m, s)
		}
		if errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) { // by OpenService, or by a second uninstall
			return notGoneError(name)
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
	if err == nil && now.State != svc.StopPending { // a service that is stopping would refuse
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

// awaitState waits until the service is in a state. It polls: the service manager announces nothing.
func awaitState(ctx context.Context, s *mgr.Service, want svc.State) error {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
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
			return fmt.Errorf("it is still %s after %v", stateText(now.State), stateTimeout)
		case <-tick.C:
		}
	}
}

// ourServices returns the names of our services, sorted.
func ourServices(m *mgr.Mgr) ([]string, error) {
	all, err := m.ListServices()
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(all, func(name string) bool { return !isOurs(name) })
	slices.Sort(names)
	return names, nil
}

// WriteStatus writes the state of a port's service, or of all our services if port is empty. It needs no rights.
func WriteStatus(w io.Writer, port string) error {
	h, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return fmt.Errorf("service status: service manager: %w", err)
	}
	m := &mgr.Mgr{Handle: h}
	defer m.Disconnect()
	write := func(name string) error { return writeService(w, m, name) }
	if port != "" {
		err = write(Name(port))
	} else {
		var names []string
		if names, err = ourServices(m); err == nil {
			err = writeServices(w, names, write)
		}
	}
	if err != nil {
		return fmt.Errorf("service status: %w", err)
	}
	return nil
}

// writeServices writes the named services. One that was uninstalled since they were listed is skipped.
func writeServices(w io.Writer, names []string, write func(name string) error) error {
	written := 0
	for _, name := range names {
		err := write(name)
		if errors.As(err, new(noServiceError)) {
			continue
		}
		if err != nil {
			return err
		}
		written++
	}
	if written > 0 {
		return nil
	}
	_, err := io.WriteString(w, "no service (telnetcpc service install COM9 URL)\n")
	return err
}

// noServiceError is the name of a service that does not exist.
type noServiceError string

func (e noServiceError) Error() string {
	return fmt.Sprintf("there is no service %s (telnetcpc service status lists all)", string(e))
}

func writeService(w io.Writer, m *mgr.Mgr, name string) error {
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
	state := fmt.Sprintf("%s: %s", name, stateText(now.State))
	if now.ProcessId != 0 {
		state += fmt.Sprintf(", pid %d", now.ProcessId)
	}
	if now.State == svc.Stopped && now.Win32ExitCode != 0 {
		state += ": " + stoppedText(now)
	}
	_, err = fmt.Fprintf(w, "%s\n    %s\n    log in %s\n", state, escape.Line(line), LogFile(strings.TrimPrefix(name, Name(""))))
	return err
}

// commandLine returns what the service manager runs. (mgr.Service.Config asks for more than every system knows.)
func commandLine(service windows.Handle) (string, error) {
	var buffer struct {
		config  windows.QUERY_SERVICE_CONFIG
		strings [7 << 10]byte // with config, 8 KiB at most (QueryServiceConfig, remarks)
	}
	var need uint32
	if err := windows.QueryServiceConfig(service, &buffer.config, uint32(unsafe.Sizeof(buffer)), &need); err != nil {
		return "", err
	}
	return windows.UTF16PtrToString(buffer.config.BinaryPathName), nil
}

// stoppedText is why a service is stopped: its own exit status, or Windows' reason, such as that it was killed, or not
// started since the last boot.
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
