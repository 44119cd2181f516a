package rfc2217

import (
	"net"
	"time"

	"telnetcpc/bridge/uart"
)

// pausedTick is the time between two calls of WhilePaused's function by a Write that waits for the end of a pause.
const pausedTick = 20 * time.Millisecond

// Write sends bytes of the UART to the client. It blocks while the client has suspended the data, and while its TCP window is
// closed. n is how many bytes were given to TCP, also if it fails. Write does not keep p.
func (s *Server) Write(p []byte) (n int, err error) {
	s.lastWasBreak = false
	for n < len(p) {
		if err := s.awaitResume(); err != nil {
			return n, err
		}
		m, err := s.writeData(p[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// WhilePaused sets a function that Write calls every 20 ms while FLOWCONTROL-SUSPEND keeps it waiting. Notices do not wait for
// the end of the pause, so f may call Modem and Line. If f fails, Write returns its error. WhilePaused must be called before
// Write, by the same goroutine; nil: nothing is called.
func (s *Server) WhilePaused(f func() error) { s.whilePaused = f }

// awaitResume waits while the client has suspended the data.
func (s *Server) awaitResume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.suspended && !s.ended {
		if s.whilePaused == nil {
			s.change.Wait()
			continue
		}
		look := time.AfterFunc(pausedTick, s.change.Broadcast)
		s.change.Wait()
		look.Stop()
		s.mu.Unlock()
		err := s.whilePaused()
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	if s.suspended { // our half is closed, or about to be: the client does not want more data
		return net.ErrClosed
	}
	return nil
}

// Answer answers the event that Next returned last with the current settings: RFC 2217 requires the current value,
// whether or not it is the requested one. It does not block.
func (s *Server) Answer(inForce uart.Event) error {
	var p []byte
	for _, c := range s.asked {
		p = AppendCommand(p, answer(c, inForce))
	}
	s.asked = s.asked[:0]
	return s.owe(p)
}

// answer returns the answer to one command.
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

// Modem notifies the client of the modem state, and of what has changed since the last notice, both ANDed with the
// client's mask (RFC 2217, section 4, NOTIFY-MODEMSTATE). A change in the mask is notified even if the value is 0:
// otherwise a client would never learn that a line has fallen. The first call should follow Accept at once: clients wait
// for it. The notice is sent in order with the bytes of Write, and does not wait for the end of a pause.
func (s *Server) Modem(m uart.ModemState) error {
	s.mu.Lock()
	mask := s.modemMask
	changed := m ^ s.modem
	value := byte(m) | delta(changed, m)
	wanted := mask != 0 && !s.notified || (byte(changed)|value&0x0F)&mask != 0
	s.modem = m
	s.notified = s.notified || wanted
	s.mu.Unlock()
	if !wanted {
		return nil
	}
	return s.notify(AppendCommand(nil, Command{Code: NotifyModemState + FromServer, Value: value & mask}))
}

// delta returns the lower bits of NOTIFY-MODEMSTATE: the lines that have changed. RI has a bit for its trailing edge alone.
func delta(changed, m uart.ModemState) (bits byte) {
	for _, d := range []struct {
		line uart.ModemState
		bit  byte
	}{{uart.CTS, 1}, {uart.DSR, 2}, {uart.RI &^ m, 4}, {uart.DCD, 8}} {
		if changed&d.line != 0 {
			bits |= d.bit
		}
	}
	return bits
}

// Line notifies the client of a line state, ANDed with its mask. The notice is sent in order with the bytes of Write, and
// does not wait for the end of a pause.
func (s *Server) Line(l uart.LineState) error {
	s.mu.Lock()
	l &= s.lineMask
	s.mu.Unlock()
	s.lastWasBreak = l&uart.LineBreak != 0
	if l == 0 {
		return nil
	}
	return s.notify(AppendCommand(nil, Command{Code: NotifyLineState + FromServer, Value: byte(l)}))
}

// BreakNUL sends, as a data byte, the NUL that the UART received with a break. It is called directly after Line. If that
// has notified the client of the break, nothing is sent: the client would see two breaks. It blocks as Write does; n is 1
// if a byte was sent.
func (s *Server) BreakNUL() (n int, err error) {
	if s.lastWasBreak {
		s.lastWasBreak = false
		return 0, nil
	}
	return s.Write([]byte{0})
}

// CloseWrite sends FIN after what is being written and what is queued; Next goes on. It never blocks.
func (s *Server) CloseWrite() error {
	s.endPause()
	s.closeWrite()
	return nil
}

// Close sends FIN after what was written and closes the connection. Every blocked call returns. Idempotent.
func (s *Server) Close() error {
	s.endPause()
	return s.close()
}

// endPause ends the wait of a Write that the client has suspended.
func (s *Server) endPause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.change.Broadcast()
}
