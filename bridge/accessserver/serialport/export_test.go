package serialport

import (
	"context"

	"telnetcpc/bridge/uart"
)

// OpenPackaged opens the port as systems do that have no way of their own to one.
func (s *Port) OpenPackaged(context.Context) (uart.Device, error) {
	t, err := s.open(openPackaged)
	if err != nil {
		return nil, err
	}
	return s.start(t)
}
