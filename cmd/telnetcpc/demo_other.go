//go:build !linux && !darwin && !freebsd && !windows

package main

import (
	"fmt"
	"os"
	"runtime"

	"telnetcpc/bridge/uart"
)

// demoTry is what a user may try with the port.
const demoTry = "%s"

// demoPort fails: no port host, no port.
func demoPort() (path string, remove func(), err error) {
	return "", nil, fmt.Errorf("no port host for %s/%s yet", runtime.GOOS, runtime.GOARCH)
}

// tty is a serial port as an application has it open.
type tty struct{ *os.File }

// openTTY fails: what a serial port is here, a port host of this system will have to say.
func openTTY(name string) (*tty, error) {
	return nil, fmt.Errorf("open %s: not known on %s/%s", name, runtime.GOOS, runtime.GOARCH)
}

// set is never reached: there is nothing open.
func (t *tty) set(uart.Coding, uart.FlowMethod) error {
	return fmt.Errorf("set %s: not known on %s/%s", t.Name(), runtime.GOOS, runtime.GOARCH)
}
