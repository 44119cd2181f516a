package wincom

import (
	"fmt"

	"telnetcpc/bridge/uart"
)

// A plain port stands on a device of another driver: the one end of some other null modem, or a real port with a cable to
// the application's. What is set at the far end cannot be known, so it is used only where the settings are pinned. It
// carries bytes; it shows DTR and RTS as the application's DSR and CTS, and reads the application's by the own ones.

// plainPins are a null modem's.
func plainPins() Pins { return DefaultPins() }

// startPlain takes the device into use. what is what it is, as far as is known.
func (p *port) startPlain(what string) error {
	p.plain = true
	p.ends.AgentPins, p.ends.ApplicationPins = plainPins(), plainPins()
	p.readPins()
	if err := p.setUp(); err != nil {
		return err
	}
	if err := p.driveLines(0); err != nil {
		return err
	}
	p.fidelity = uart.CarriesDTR | uart.CarriesRTS | uart.CarriesBreakIn | uart.CarriesOrder
	if _, err := p.dev.Ioctl(LsrMstInsert, []byte{Escape}, nil); err != nil {
		p.bare = true // no records: the lines that the application drives are not known either
		p.fidelity = uart.CarriesBreakIn
		p.dtr, p.rts = reading{}, reading{}
	}
	m, err := p.status()
	if err != nil {
		return fmt.Errorf("%v of %s: %w", GetModemStatus, p.ends.Agent, err)
	}
	p.lines, p.coding = m, p.told // what is told of the coding is nothing
	p.opens()
	p.log.Warn("the settings of the application cannot be known here; the pinned ones count", "device", p.ends.Agent, "it_is", what)
	return nil
}

// plainCoding is the pinned coding: this end needs the same.
func plainCoding(pinned uart.Coding) (baud uint32, line [3]byte) {
	c := pinned.Over(uart.DefaultCoding())
	stops := map[uart.StopBits]byte{uart.Stop1: 0, uart.Stop1Half: 1, uart.Stop2: 2}
	return c.Baud, [3]byte{stops[c.StopBits], byte(c.Parity - uart.ParityNone), c.DataBits}
}

// driveLines drives DTR and RTS, each by a request of its own.
func (p *port) driveLines(o Output) error {
	for _, line := range []struct {
		bit        Output
		set, clear Ioctl
	}{{OutDTR, SetDTR, ClearDTR}, {OutRTS, SetRTS, ClearRTS}} {
		code := line.clear
		if o&line.bit != 0 {
			code = line.set
		}
		if _, err := p.dev.Ioctl(code, nil, nil); err != nil {
			return err
		}
	}
	return nil
}
