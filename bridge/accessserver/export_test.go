package accessserver

// Held is how many clients own the device, watch, and have no session.
func (s *Server) Held() (owners, watchers, visitors int) {
	s.lobby.mu.Lock()
	defer s.lobby.mu.Unlock()
	return len(s.owned), len(s.watchers), len(s.lobby.all)
}
