package rfc2217

import (
	"telnetcpc/bridge/uart"
)

// Write sends bytes of the UART to the client. It blocks while the client asks for a pause, and while its window is
// closed. n counts the bytes that were given to TCP whole. It does not keep p.
func (s *Server) Write(p []byte) (n int, err error) {
	for n < len(p) {
		s.mu.Lock()
		for s.suspended && !s.over {
			s.change.Wait()
		}
		s.mu.Unlock()
		m, err := s.writeData(p[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// Answer answers what Next returned last, with what is in force now: RFC 2217 wants the value in force, whether or not
// it is the one asked for.
func (s *Server) Answer(inForce uart.Event) error {
	var p []byte
	for _, c := range s.asked {
		p = AppendCommand(p, answer(c, inForce))
	}
	s.asked = s.asked[:0]
	return s.owe(p)
}

// answer is the server's answer to one command.
func answer(c Command, inForce uart.Event) Command {
	a := Command{Code: c.Code + FromServer, Value: c.Value}
	switch c.Code {
	case SetBaudRate:
		a.Baud = inForce.Coding.Baud
	case SetDataSize:
		a.Value = inForce.Coding.DataBits
	case SetParity:
		a.Value = byte(inForce.Coding.Parity)
	case SetStopSize:
		a.Value = byte(inForce.Coding.StopBits)
	case SetControl:
		a.Value = byte(answerControl(Control(c.Value), inForce))
	}
	return a
}

func answerControl(c Control, inForce uart.Event) Control {
	level := func(l uart.Level, on, off Control) Control {
		if l == uart.LevelOn {
			return on
		}
		return off
	}
	switch {
	case c >= AskBreak && c <= BreakOff:
		return level(inForce.Control.Break, BreakOn, BreakOff)
	case c >= AskDTR && c <= DTROff:
		return level(inForce.Control.DTR, DTROn, DTROff)
	case c >= AskRTS && c <= RTSOff:
		return level(inForce.Control.RTS, RTSOn, RTSOff)
	case c >= AskFlowIn && c <= FlowInRTSCTS, c == FlowInDTR:
		return flowIn[inForce.Flow.In]
	}
	return flowOut[inForce.Flow.Out]
}

// Modem tells the client what the device drives, where its mask wants to know: the state, and what has changed since
// the last time (RFC 2217, NOTIFY-MODEMSTATE). The first call is to come at once: clients wait for it. It keeps its
// place among the bytes of Write.
func (s *Server) Modem(m uart.ModemState) error {
	s.mu.Lock()
	changed := m ^ s.modem
	delta := byte(0)
	for _, d := range []struct {
		line uart.ModemState
		bit  byte
	}{{uart.CTS, 1}, {uart.DSR, 2}, {uart.RI &^ m, 4}, {uart.DCD, 8}} { // of RI only the trailing edge has a bit
		if changed&d.line != 0 {
			delta |= d.bit
		}
	}
	wanted := !s.notified || (byte(changed)|delta)&s.modemMask != 0
	s.modem, s.notified = m, true
	s.mu.Unlock()
	if !wanted {
		return nil
	}
	return s.writeCommands(AppendCommand(nil, Command{Code: NotifyModemState + FromServer, Value: byte(m) | delta}))
}

// Line tells the client what the UART saw, as far as its mask wants to know. It keeps its place among the bytes of
// Write.
func (s *Server) Line(l uart.LineState) error {
	s.mu.Lock()
	l &= s.lineMask
	s.mu.Unlock()
	if l == 0 {
		return nil
	}
	return s.writeCommands(AppendCommand(nil, Command{Code: NotifyLineState + FromServer, Value: byte(l)}))
}

// CloseWrite has FIN sent behind what is being written and what is owed; Next goes on. It never blocks.
func (s *Server) CloseWrite() error {
	s.finish()
	s.closeWrite()
	return nil
}

// Close ends the session: FIN behind what was written. Every blocked call returns. Idempotent.
func (s *Server) Close() error {
	s.finish()
	return s.close()
}

// finish ends the wait of a Write that the client has asked to pause.
func (s *Server) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.change.Broadcast()
}
