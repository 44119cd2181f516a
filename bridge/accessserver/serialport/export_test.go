package serialport

import (
	"context"

	"telnetcpc/bridge/uart"
)

// OpenLibrary opens the port as systems without an implementation of their own do.
func (s *Port) OpenLibrary(context.Context) (uart.Device, error) {
	t, err := s.open(openLibraryTTY)
	if err != nil {
		return nil, err
	}
	return s.start(t)
}
