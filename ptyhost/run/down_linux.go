//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// From the device to the program: Write, writeSome, the pty. What the tty layer does with a UART's received bytes, with
// bytes with errors and bytes that must be escaped (PARMRK), is done on the way.

// Write implements uart.Port.
func (p *port) Write(b []byte) (n int, err error) {
	p.writing = writeState{p: b}
	for {
		term := p.terminal()
		err = term.WaitWrite()
		n = p.writing.n
		switch {
		case err == nil:
			p.writing.p = nil
			if p.isEnded() && n < len(b) {
				return n, uart.ErrClosed
			}
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			term.UnpokeWriter() // the port was closed or purged: writeSome checks that
		case p.isEnded():
			return n, uart.ErrClosed
		case term != p.terminal(): // hung up
		default:
			return n, fmt.Errorf("port %s: write to the pty: %w", p.claim.Path(), err)
		}
	}
}

// writeSome writes as much as fits. It is done if everything is written or the rest is for nobody: a last close and a
// purge discard it, and so does writeToProgram if the opens that wait cannot take it.
func (p *port) writeSome() (done bool) {
	g := &p.writing
	p.mu.Lock()
	defer p.mu.Unlock()
	if !g.started {
		g.started, g.closes, g.rxPurges = true, p.opens.closes, p.input.purges
	}
	if !p.opens.open || p.ended || g.closes != p.opens.closes || g.rxPurges != p.input.purges {
		return true
	}
	if p.line.termios.Cflag&unix.CREAD == 0 { // the receiver is off
		g.n, p.input.pending = len(g.p), nil
	}
	for len(p.input.pending) > 0 || g.n < len(g.p) {
		if len(p.input.pending) == 0 && (p.input.errorNext != 0 || p.line.termios.Iflag&(unix.PARMRK|unix.ISTRIP) != 0) {
			chunk := g.p[g.n:min(len(g.p), g.n+len(p.input.buf)/3)]
			p.input.pending = p.applyInputFlags(p.input.buf[:0], chunk)
			g.n += len(chunk)
			p.line.counts.rx += int32(len(chunk))
			continue
		}
		if len(p.input.pending) > 0 {
			m, drop := p.writeToProgram(p.input.pending)
			if m == 0 {
				return drop
			}
			p.input.pending = p.input.pending[m:]
			continue
		}
		m, drop := p.writeToProgram(g.p[g.n:])
		if m == 0 {
			return drop
		}
		g.n += m
		p.line.counts.rx += int32(m)
	}
	return true
}

// applyInputFlags appends to dst what the program reads for received bytes b: what n_tty makes of bytes and flags from
// a driver (drivers/tty/n_tty.c). The first byte has the errors of errorNext. port.mu is held.
func (p *port) applyInputFlags(dst, b []byte) []byte {
	flags := p.line.termios.Iflag
	for _, c := range b {
		bad := p.input.errorNext&(uart.LineParity|uart.LineFraming) != 0 && flags&unix.INPCK != 0
		p.input.errorNext = 0
		switch {
		case bad && flags&unix.IGNPAR != 0:
		case bad && flags&unix.PARMRK != 0:
			dst = append(dst, 0xff, 0, c)
		case bad:
			dst = append(dst, 0)
		case flags&unix.ISTRIP != 0:
			dst = append(dst, c&0x7f)
		case c == 0xff && flags&unix.PARMRK != 0:
			dst = append(dst, 0xff, 0xff)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// ReportLine implements uart.Port. All of it is counted at once (TIOCGICOUNT). A break reaches the program in its place
// in the stream: as a signal, as a PARMRK sequence or as a zero byte, depending on its termios. It blocks like Write.
func (p *port) ReportLine(l uart.LineState) error {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return uart.ErrClosed
	}
	if p.opens.open {
		p.line.counts.addErrors(l)
		p.input.errorNext |= l & (uart.LineParity | uart.LineFraming)
		if l&uart.LineBreak != 0 {
			p.input.errorNext = 0 // a break is itself a byte with a framing error
			p.inputBreak()
		}
		p.wakeWaiters()
	}
	p.mu.Unlock()
	_, err := p.Write(nil)
	return err
}

// inputBreak delivers a break as the termios demands; port.mu is held.
func (p *port) inputBreak() {
	flags := p.line.termios.Iflag
	switch {
	case flags&unix.IGNBRK != 0:
	case flags&unix.BRKINT != 0:
		p.flushInput()
		_ = unix.IoctlSetInt(p.term.Master(), unix.TIOCSIG, int(unix.SIGINT)) // to the foreground group whose terminal the slave is
	case flags&unix.PARMRK != 0:
		p.input.pending = append(p.input.buf[:0], 0xff, 0, 0)
	default:
		p.input.pending = append(p.input.buf[:0], 0)
	}
}

// flushInput discards what the program has not read yet; port.mu is held.
func (p *port) flushInput() {
	p.input.pending, p.opens.early = nil, nil
	p.withSlave(func(fd int) { _ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) })
}

// withSlave calls f with a descriptor of the slave.
func (p *port) withSlave(f func(fd int)) {
	fd, err := p.term.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	if err != nil {
		p.log.Warn("cannot open the pty", "device", p.term.Name(), "err", err)
		return
	}
	f(fd)
	_ = unix.Close(fd)
}

// SetModem implements uart.Port. If DCD falls while CLOCAL is off, the port hangs up.
func (p *port) SetModem(m uart.ModemState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return uart.ErrClosed
	}
	fell := p.line.modem&^m&uart.DCD != 0
	p.line.counts.addModem(p.line.modem ^ m)
	p.line.modem = m
	p.wakeWaiters()
	if fell && p.opens.open && p.line.termios.Cflag&unix.CLOCAL == 0 {
		p.hangUp()
	}
	return nil
}

// counts is struct serial_icounter_struct: the result of TIOCGICOUNT.
type counts struct {
	cts, dsr, ri, dcd, rx, tx, frame, overrun, parity, brk int32
	_                                                      [10]int32 // buf_overrun, reserved
}

// addModem counts changes of modem lines: both edges of each.
func (c *counts) addModem(changed uart.ModemState) {
	for line, n := range map[uart.ModemState]*int32{uart.CTS: &c.cts, uart.DSR: &c.dsr, uart.RI: &c.ri, uart.DCD: &c.dcd} {
		if changed&line != 0 {
			*n++
		}
	}
}

// addErrors counts line errors at the far UART.
func (c *counts) addErrors(l uart.LineState) {
	for bit, n := range map[uart.LineState]*int32{
		uart.LineFraming: &c.frame, uart.LineOverrun: &c.overrun, uart.LineParity: &c.parity, uart.LineBreak: &c.brk,
	} {
		if l&bit != 0 {
			*n++
		}
	}
}
