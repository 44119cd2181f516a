package wincomtest

import (
	"errors"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// ErrDenied is returned by a second open of the application's end.
var ErrDenied = errors.New("access is denied")

// errInvalidHandle is returned by the calls of a program that has closed its end.
var errInvalidHandle = errors.New("the handle is invalid")

// Application is a program that has the application's end open. Each method is one request to the driver, except SetCoding,
// which is SetCommState. Methods may be called from several goroutines.
type Application struct {
	end    *end
	closed bool
}

// OpenApplication opens the application's end.
func (p *Pair) OpenApplication() (*Application, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.application.open {
		return nil, ErrDenied
	}
	p.agent.pins, p.application.pins = p.Ends.AgentPins, p.Ends.ApplicationPins
	p.application.opens()
	return &Application{end: &p.application}, nil
}

// SetLeftCoding sets the coding that the application's end has from its previous user.
func (p *Pair) SetLeftCoding(c uart.Coding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.application.baud = c.Baud
	p.application.line = lineControl(c)
}

// lineControl converts a coding to SERIAL_LINE_CONTROL.
func lineControl(c uart.Coding) [3]byte {
	stops := map[uart.StopBits]byte{uart.Stop1: 0, uart.Stop1Half: 1, uart.Stop2: 2}
	return [3]byte{stops[c.StopBits], byte(c.Parity - uart.ParityNone), c.DataBits}
}

// do makes a request, unless the program has closed its end.
func (a *Application) do(f func(e *end)) {
	a.end.pair.mu.Lock()
	defer a.end.pair.mu.Unlock()
	if !a.closed {
		f(a.end)
	}
}

// Close closes the end: its outputs drop and unread bytes are lost. Idempotent.
func (a *Application) Close() error {
	a.do(func(e *end) {
		a.closed = true
		e.closes()
	})
	return nil
}

// Read waits for a byte and returns what there is.
func (a *Application) Read(p []byte) (int, error) {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	for !a.closed && len(a.end.received) == 0 {
		pair.changed.Wait()
	}
	if a.closed {
		return 0, errInvalidHandle
	}
	return a.end.take(p), nil
}

// Write waits until the driver has taken all of p.
func (a *Application) Write(p []byte) (int, error) {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	return a.end.write(p, func() error {
		if a.closed {
			return errInvalidHandle
		}
		return nil
	})
}

// SetCoding is SetCommState: one request for the baud rate and one for the rest. Fields that are unset in c do not change.
func (a *Application) SetCoding(c uart.Coding) (err error) {
	a.do(func(e *end) {
		if c.Baud != 0 {
			e.setBaud(c.Baud)
		}
		line := e.line
		set := lineControl(c)
		if c.StopBits != 0 {
			line[0] = set[0]
		}
		if c.Parity != 0 {
			line[1] = set[1]
		}
		if c.DataBits != 0 {
			line[2] = set[2]
		}
		err = e.setLine(line)
	})
	return err
}

// Lines sets DTR and RTS in one request, and break in another.
func (a *Application) Lines(c uart.Control) {
	var value, mask wincom.Output
	for o, l := range map[wincom.Output]uart.Level{wincom.OutDTR: c.DTR, wincom.OutRTS: c.RTS} {
		if l != 0 {
			mask |= o
		}
		if l == uart.LevelOn {
			value |= o
		}
	}
	a.do(func(e *end) {
		e.setOutputs(value, mask)
		if c.Break != 0 {
			e.setBreak(c.Break == uart.LevelOn)
		}
	})
}

// Modem returns the modem status.
func (a *Application) Modem() (m uart.ModemState) {
	a.do(func(e *end) { m = e.status })
	return m
}

// Errors is ClearCommError: the errors since the previous call, as wincom.ErrorBreak and the like.
func (a *Application) Errors() (errors uint32) {
	a.do(func(e *end) { errors, e.errors = e.errors, 0 })
	return errors
}

// EditQueue replaces the bytes that the agent has yet to read by what f returns, as if the driver had lost or damaged some.
func (p *Pair) EditQueue(f func(queue []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agent.received = f(p.agent.received)
	p.changed.Broadcast()
}
