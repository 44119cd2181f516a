package accessserver

import "context"

// OpenPackaged opens the port as systems do that have no way of their own to one.
func (s *Serial) OpenPackaged(context.Context) (Device, error) {
	t, err := s.open(openPackaged)
	if err != nil {
		return nil, err
	}
	return s.device(t)
}
