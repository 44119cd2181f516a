package serialport

import (
	"context"

	"telnetcpc/bridge/uart"
)

// OpenMarked opens a pty with errors marked in the data, as a port with a UART behind it is.
func (s *Port) OpenMarked(context.Context) (uart.Device, error) {
	t, err := s.open(openTTY)
	if err != nil {
		return nil, err
	}
	t.(*locked).tty.(*linuxTTY).can.marks = true
	return s.start(t)
}

// LockIn has the port's lock files in these directories.
func (s *Port) LockIn(dirs ...string) *Port {
	s.lockDirs = dirs
	return s
}

// LockNames are the names under which a port is locked.
var LockNames = lockNames
