package serialport

import (
	"context"

	"telnetcpc/bridge/uart"
)

// OpenParmrk opens a pty with PARMRK, as a port with a UART is.
func (s *Port) OpenParmrk(context.Context) (uart.Device, error) {
	t, err := s.open(openTTY)
	if err != nil {
		return nil, err
	}
	t.(*lockedTTY).tty.(*linuxTTY).can.parmrk = true
	return s.start(t)
}

// LockIn puts the port's lock files into these directories.
func (s *Port) LockIn(dirs ...string) *Port {
	s.lockDirs = dirs
	return s
}

// LockNames returns the names under which a port is locked.
var LockNames = lockNames
