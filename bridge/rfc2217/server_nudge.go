package rfc2217

import "telnetcpc/bridge/telnet"

// Nudge sends the client an IAC NOP, which means nothing to it. A client that has closed the connection while bytes of it
// still wait in its own kernel answers with a reset: its FIN would come after them. It never blocks; anyone may call it.
func (s *Server) Nudge() error { return s.owe([]byte{byte(telnet.IAC), byte(telnet.NOP)}) }
