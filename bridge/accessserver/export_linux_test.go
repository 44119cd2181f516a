package accessserver

import "context"

// OpenMarked opens a pty with errors marked in the data, as a port with a UART behind it is.
func (s *Serial) OpenMarked(context.Context) (Device, error) {
	t, err := s.open(openTTY)
	if err != nil {
		return nil, err
	}
	t.(*linuxTTY).can.marks = true
	return s.device(t)
}
