package rfc2217

import "telnetcpc/bridge/telnet"

// Nudge sends the client an IAC NOP, which it ignores. If the client has closed the connection while its kernel still has
// bytes to send, which delay its FIN, the kernel answers with a reset. If something is still queued because the client
// does not read, that has the same effect, and nothing is added: Nudge may be called any number of times. It never
// blocks; any goroutine may call it.
func (s *Server) Nudge() error {
	s.owedMu.Lock()
	waits := len(s.owed) > 0
	s.owedMu.Unlock()
	if waits {
		return nil
	}
	return s.owe([]byte{byte(telnet.IAC), byte(telnet.NOP)})
}
