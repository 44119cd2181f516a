package usbip

// Kept returns how many bytes of memory the stream keeps for its answers.
func (s *Stream) Kept() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cap(s.out) + cap(s.spare)
}
