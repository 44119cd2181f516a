package rfc2217

import (
	"net"
	"time"

	"telnetcpc/bridge/uart"
)

// pausedLook is how often a Write that waits for the end of a pause looks around.
const pausedLook = 20 * time.Millisecond

// Write sends bytes of the UART to the client. It blocks while the client asks for a pause, and while its window is
// closed. n counts the bytes that were given to TCP whole. It does not keep p.
func (s *Server) Write(p []byte) (n int, err error) {
	s.broke = false
	for n < len(p) {
		if err := s.unpaused(); err != nil {
			return n, err
		}
		m, err := s.writeData(p[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// WhilePaused has f called each 20 ms by a Write that the client keeps waiting with FLOWCONTROL-SUSPEND: notices do not wait
// for the end of that, so f may call Modem, and Line. An error of f ends the Write with it. To be called before Write, by
// its caller; nil: nothing is called.
func (s *Server) WhilePaused(f func() error) { s.meanwhile = f }

// unpaused waits while the client asks for a pause.
func (s *Server) unpaused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.suspended && !s.over {
		if s.meanwhile == nil {
			s.change.Wait()
			continue
		}
		look := time.AfterFunc(pausedLook, s.change.Broadcast)
		s.change.Wait()
		look.Stop()
		s.mu.Unlock()
		err := s.meanwhile()
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	if s.suspended { // our half is over, or about to be: what the client has not asked for does not go out
		return net.ErrClosed
	}
	return nil
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
// the last time, both ANDed with the mask (RFC 2217, NOTIFY-MODEMSTATE). A change that the mask has is told also when
// nothing of the value is left, else a client would never hear that a line has fallen. The first call is to come at once:
// clients wait for it. It keeps its place among the bytes of Write, and does not wait for the end of a pause.
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
	return s.tell(AppendCommand(nil, Command{Code: NotifyModemState + FromServer, Value: value & mask}))
}

// delta is what has changed, in the lower bits of NOTIFY-MODEMSTATE: of RI only the trailing edge has one.
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

// Line tells the client what the UART saw, as far as its mask wants to know. It keeps its place among the bytes of
// Write, and does not wait for the end of a pause.
func (s *Server) Line(l uart.LineState) error {
	s.mu.Lock()
	l &= s.lineMask
	s.mu.Unlock()
	s.broke = l&uart.LineBreak != 0
	if l == 0 {
		return nil
	}
	return s.tell(AppendCommand(nil, Command{Code: NotifyLineState + FromServer, Value: byte(l)}))
}

// BreakNUL sends the NUL as which the UART has received a break, directly behind the Line that told of it: as a byte of
// data, unless the client was told of the break. Else it would count two. It blocks as Write does; n is 1 where a byte was
// sent.
func (s *Server) BreakNUL() (n int, err error) {
	if s.broke {
		s.broke = false
		return 0, nil
	}
	return s.Write([]byte{0})
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
