package accessserver

import (
	"context"

	"telnetcpc/bridge/uart"
)

// OpenPackaged opens the port as systems do that have no way of their own to one.
func (s *Serial) OpenPackaged(context.Context) (uart.Device, error) {
	t, err := s.open(openPackaged)
	if err != nil {
		return nil, err
	}
	return s.device(t)
}

// Held is how many clients own the device, watch, and have no session.
func (s *Server) Held() (owners, watchers, visitors int) {
	s.lobby.mu.Lock()
	defer s.lobby.mu.Unlock()
	return len(s.owned), len(s.watchers), len(s.lobby.all)
}
