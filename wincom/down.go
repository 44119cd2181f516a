package wincom

import (
	"errors"

	"telnetcpc/bridge/uart"
)

// The way of a byte down:
//
//	Write -> Device.Write -> driver -> the application's queue -> ReadFile
//
// The driver takes a write whole or lets it wait: that is the back pressure. It would also wait for an application that is
// to come, so a write ends when the last close is known.

// writeSize is how much one write of the device takes. What an interrupted one has given nobody knows, so pieces are small:
// as large as the queue of an application that has not asked for another.
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
			// The rest was for the program that has gone, also where another has come meanwhile; and so was what the
			// driver may have kept for it.
			_, _ = p.dev.Ioctl(Purge, clearTx, nil)
			return n, nil
		case err != nil:
			return n, p.failed("write", err)
		}
	}
	return n, nil
}

// clearTx is what Purge takes.
var clearTx = appendWords(nil, PurgeTxAbort|PurgeTxClear)

// SetModem implements uart.Port. The lines that the pair's pins cannot show are answered with ErrNotCarried, where they
// would have to look otherwise than they do; the others are shown.
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

func (p *port) drive(o Output) error {
	if p.plain {
		return p.driveLines(o)
	}
	_, err := p.dev.Ioctl(SetModemControl, AppendModemControl(nil, o, outAll), nil)
	return err
}

// ReportLine implements uart.Port: the application receives a break. A framing error alone, parity and overrun cannot be
// shown.
func (p *port) ReportLine(l uart.LineState) error {
	if p.closed.Load() {
		return uart.ErrClosed
	}
	if l&uart.LineBreak != 0 {
		l &^= uart.LineBreak | uart.LineFraming // the driver reports both for a break
		if !p.gone() {
			if err := p.giveBreak(); err != nil {
				return err
			}
		}
	}
	if l &= uart.LineErrors; l != 0 {
		return uart.NotCarried(hostName, "report "+l.String())
	}
	return nil
}

func (p *port) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.present
}

// giveBreak gives the application a break. Its length is not known: the far UART reports that there was one.
func (p *port) giveBreak() error {
	for _, code := range []Ioctl{SetBreakOn, SetBreakOff} {
		if _, err := p.dev.Ioctl(code, nil, nil); err != nil {
			return p.failed("send a break from", err)
		}
	}
	return nil
}

// mirror gives the agent's end the application's rate where the driver paces what we write by it.
func (p *port) mirror(baud uint32) {
	if !p.ends.EmuBR || baud == 0 {
		return
	}
	if err := p.ioctl(SetBaudRate, appendWords(nil, baud)); err != nil && !errors.Is(err, ErrDeviceClosed) {
		p.log.Warn("the driver's pace cannot be set", "err", err)
	}
}
