package wincom

import (
	"errors"

	"telnetcpc/bridge/uart"
)

// The way of a byte down:
//
//	Write -> Device.Write -> driver -> the application's queue -> ReadFile
//
// The driver takes a write completely or blocks it: that is the back pressure. It would also block for an application that
// is yet to open its end, so a write ends once the last close is known.

// writeSize is the size of one write to the device. How much of an interrupted write the application got is unknown, so
// writes are small: the queue size of an application that has not asked for another (SetupComm).
const writeSize = 4 << 10

// Write implements uart.Port.
func (p *port) Write(b []byte) (n int, err error) {
	if p.closed.Load() {
		return 0, uart.ErrClosed
	}
	for n < len(b) {
		k, err := p.dev.Write(b[n:min(len(b), n+writeSize)])
		n += k
		switch {
		case errors.Is(err, ErrStopped):
			// The rest was for the program that has closed the port, even if another has opened it since; so were the bytes
			// that the driver may still hold.
			_, _ = p.dev.Ioctl(Purge, clearTx, nil)
			return n, nil
		case err != nil:
			return n, p.failed("write", err)
		}
	}
	return n, nil
}

// clearTx is the input of Purge. Made once, because Write must not allocate.
var clearTx = appendWords(nil, PurgeTxAbort|PurgeTxClear)

// SetModem implements uart.Port. If the pair's pins cannot show the state of some lines, it shows that of the others and
// returns ErrNotCarried with the names.
func (p *port) SetModem(m uart.ModemState) error {
	drive, missing := p.ends.ApplicationPins.Drive(m)
	p.modemMu.Lock()
	defer p.modemMu.Unlock()
	if err := p.drive(drive); err != nil {
		return p.failed("set the lines of", err)
	}
	if missing != 0 {
		return uart.NotCarried(hostName, "show "+missing.String())
	}
	return nil
}

// drive sets the outputs of the agent's end.
func (p *port) drive(o Output) error {
	if p.plain {
		return p.driveLines(o)
	}
	_, err := p.dev.Ioctl(SetModemControl, AppendModemControl(nil, o, outAll), nil)
	return err
}

// ReportLine implements uart.Port: a break reaches the application. Parity, overrun, and a framing error without a break do
// not: the driver has no request for them.
func (p *port) ReportLine(l uart.LineState) error {
	if p.closed.Load() {
		return uart.ErrClosed
	}
	if l&uart.LineBreak != 0 {
		l &^= uart.LineBreak | uart.LineFraming // the driver reports both to the application for a break
		if p.isPresent() {
			if err := p.sendBreak(); err != nil {
				return err
			}
		}
	}
	if l &= uart.LineErrors; l != 0 {
		return uart.NotCarried(hostName, "report "+l.String())
	}
	return nil
}

func (p *port) isPresent() bool {
	p.presence.mu.Lock()
	defer p.presence.mu.Unlock()
	return p.presence.present
}

// sendBreak sends the application the shortest break: the far UART reports that there was one, not its length.
func (p *port) sendBreak() error {
	for _, code := range []Ioctl{SetBreakOn, SetBreakOff} {
		if _, err := p.dev.Ioctl(code, nil, nil); err != nil {
			return p.failed("send a break from", err)
		}
	}
	return nil
}

// mirrorBaud sets the agent's end to the application's baud rate if the driver paces our writes by it (EmuBR).
func (p *port) mirrorBaud(baud uint32) {
	if !p.ends.EmuBR || baud == 0 {
		return
	}
	if err := p.ioctl(SetBaudRate, appendWords(nil, baud)); err != nil && !errors.Is(err, ErrDeviceClosed) {
		p.log.Warn("cannot set the baud rate that paces the driver", "err", err)
	}
}
