package wincomtest

import (
	"errors"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// ErrDenied is what a second open of the application's end gets.
var ErrDenied = errors.New("access is denied")

// errGone ends the calls of a program that has closed its end.
var errGone = errors.New("the handle is invalid")

// Application is a program that has the application's end open. Each method is one request to the driver but SetCoding,
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

// Leave says how the program that had the application's end open last has left it.
func (p *Pair) Leave(c uart.Coding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.application.baud = c.Baud
	p.application.line = lineControl(c)
}

// lineControl is a coding as SERIAL_LINE_CONTROL has it.
func lineControl(c uart.Coding) [3]byte {
	stops := map[uart.StopBits]byte{uart.Stop1: 0, uart.Stop1Half: 1, uart.Stop2: 2}
	return [3]byte{stops[c.StopBits], byte(c.Parity - uart.ParityNone), c.DataBits}
}

// do makes a request.
func (a *Application) do(f func(e *end)) {
	a.end.pair.mu.Lock()
	defer a.end.pair.mu.Unlock()
	if !a.closed {
		f(a.end)
	}
}

// Close closes the end: everything that it drives falls, what was not read is gone. A second one does nothing.
func (a *Application) Close() error {
	a.do(func(e *end) {
		a.closed = true
		e.closes()
	})
	return nil
}

// Read waits until there is a byte.
func (a *Application) Read(p []byte) (int, error) {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	for !a.closed && len(a.end.received) == 0 {
		pair.changed.Wait()
	}
	if a.closed {
		return 0, errGone
	}
	return a.end.take(p), nil
}

// Write waits until the driver has taken everything.
func (a *Application) Write(p []byte) (int, error) {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	return a.end.write(p, func() error {
		if a.closed {
			return errGone
		}
		return nil
	})
}

// SetCoding is SetCommState: a request for the rate, and one for the rest. What c does not say stays.
func (a *Application) SetCoding(c uart.Coding) (err error) {
	a.do(func(e *end) {
		if c.Baud != 0 {
			e.setBaud(c.Baud)
		}
		line := e.line
		said := lineControl(c)
		if c.StopBits != 0 {
			line[0] = said[0]
		}
		if c.Parity != 0 {
			line[1] = said[1]
		}
		if c.DataBits != 0 {
			line[2] = said[2]
		}
		err = e.setLine(line)
	})
	return err
}

// Lines drives DTR and RTS, by one request where both are said, and break by another.
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

// Modem is the modem status.
func (a *Application) Modem() (m uart.ModemState) {
	a.do(func(e *end) { m = e.status })
	return m
}

// Errors is ClearCommError: the errors since the last call, as the bits Error of wincom.
func (a *Application) Errors() (errors uint32) {
	a.do(func(e *end) { errors, e.errors = e.errors, 0 })
	return errors
}

// Driver runs f where the driver would have lost or damaged something: with what waits for the agent's reads, which f
// returns changed.
func (p *Pair) Driver(f func(queue []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agent.received = f(p.agent.received)
	p.changed.Broadcast()
}
