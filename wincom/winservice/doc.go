// Package winservice runs an attach as a Windows service: it installs and controls the service (manager_windows.go), talks
// to the service manager while the service runs (process_windows.go), and writes its logs, a file and the event log. It is
// handed what the service does, and must not know what a bridge is nor how a command line looks. Its caller is the command
// service.
package winservice

import (
	"errors"
	"strings"
	"time"

	"telnetcpc/wincom"
)

// ErrNotStarted means that this process was not started by the service manager.
var ErrNotStarted = errors.New("not started by the service manager")

// flushTimeout bounds how long the end of a service waits for a log that takes nothing.
const flushTimeout = time.Second

// Name returns the name of a port's service; of no port, what the names of all our services begin with.
func Name(port string) string { return "telnetcpc-" + port }

// isOurs reports whether a service is one of ours, by its name.
func isOurs(name string) bool {
	port, ok := strings.CutPrefix(name, Name(""))
	if !ok {
		return false
	}
	_, err := wincom.ParsePortName(port)
	return err == nil
}

// openToOthers reports whether a program is outside the directory of installed programs: anyone who may write it there
// could do everything that a service may.
func openToOthers(program, installed string) bool {
	return !strings.HasPrefix(strings.ToLower(program), strings.ToLower(strings.TrimSuffix(installed, `\`)+`\`))
}
