package rfc2217

import "telnetcpc/bridge/telnet"

// Nudge sends the client an IAC NOP, which means nothing to it. A client that has closed the connection while bytes of it
// still wait in its own kernel answers with a reset: its FIN would come after them. Where something is owed that it does not
// take, that says as much, and nothing is added: it may be nudged for days. It never blocks; anyone may call it.
func (s *Server) Nudge() error {
	s.owedMu.Lock()
	waits := len(s.owed) > 0
	s.owedMu.Unlock()
	if waits {
		return nil
	}
	return s.owe([]byte{byte(telnet.IAC), byte(telnet.NOP)})
}
