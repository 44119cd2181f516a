package accessserver

// Held returns how many clients own the device, watch, and have no session.
func (s *Server) Held() (owners, watchers, visitors int) {
	s.visitors.mu.Lock()
	defer s.visitors.mu.Unlock()
	return len(s.ownerSlot), len(s.watcherSlots), len(s.visitors.all)
}
