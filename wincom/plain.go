package wincom

import (
	"fmt"

	"telnetcpc/bridge/uart"
)

// A plain port uses a device of another driver: one end of another null modem, or a real port with a cable to the
// application's. The application's settings are unknown there, so it needs pinned ones. It carries bytes; the application
// sees our DTR and RTS as its DSR and CTS, and we see its as ours.

// startPlain takes the device into use. what describes it, for the log.
func (p *port) startPlain(what string) error {
	s := &p.next
	p.plain = true
	p.ends.AgentPins, p.ends.ApplicationPins = DefaultPins(), DefaultPins() // a null modem's
	p.setReadings()
	if err := p.configure(); err != nil {
		return err
	}
	if err := p.driveLines(0); err != nil {
		return err
	}
	p.fidelity = uart.CarriesDTR | uart.CarriesRTS | uart.CarriesBreakIn | uart.CarriesOrder
	if _, err := p.dev.Ioctl(LsrMstInsert, []byte{Escape}, nil); err != nil {
		s.bare = true // no records, so the lines that the application drives are unknown too
		p.fidelity = uart.CarriesBreakIn
		p.dtr, p.rts = reading{}, reading{}
	}
	m, err := p.modemInputs()
	if err != nil {
		return fmt.Errorf("%v of %s: %w", GetModemStatus, p.ends.Agent, err)
	}
	s.inputs, s.coding = m, s.reported // so that no coding is reported
	p.reportOpen()
	p.log.Warn("this device does not show the application's settings; using the pinned ones", "device", p.ends.Agent, "it_is", what)
	return nil
}

// plainCoding is the pinned coding, which this end needs too, as SetBaudRate and SetLineControl take it.
func plainCoding(pinned uart.Coding) (baud uint32, line [3]byte) {
	c := pinned.Over(uart.DefaultCoding())
	stops := map[uart.StopBits]byte{uart.Stop1: 0, uart.Stop1Half: 1, uart.Stop2: 2}
	return c.Baud, [3]byte{stops[c.StopBits], byte(c.Parity - uart.ParityNone), c.DataBits}
}

// driveLines drives DTR and RTS, each by its own request: SetModemControl's extension is com0com's.
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
