//go:build !linux && !darwin && !freebsd && !windows

package demo

import (
	"fmt"
	"os"
	"runtime"

	"telnetcpc/bridge/uart"
)

// example is a command that a user can try; %s is the port.
const example = "%s"

// tty is a serial port as an application has it open.
type tty struct{ *os.File }

// openTTY fails: this system has no port host.
func openTTY(name string) (*tty, error) {
	return nil, fmt.Errorf("open %s: not supported on %s/%s", name, runtime.GOOS, runtime.GOARCH)
}

// set is never reached: nothing can be open.
func (t *tty) set(uart.Coding, uart.FlowMethod) error {
	return fmt.Errorf("set %s: not supported on %s/%s", t.Name(), runtime.GOOS, runtime.GOARCH)
}
