package wincom

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"telnetcpc/bridge/uart"
)

// queueSize is the room in the driver for what the application does while Next is not called.
const queueSize = 64 << 10

// start takes the device into use. The driver requires this order. Line coding, characters and
// handshake of an end persist from its last user, the size of its queue does not: so all of them are set at every open.
func (p *port) start() error {
	err := p.queryOptions()
	if foreign := new(NotPairError); errors.As(err, &foreign) && p.pinned.DataBits != 0 {
		return p.startPlain(foreign.Device)
	}
	if err != nil {
		return err
	}
	if err := p.configure(); err != nil {
		return err
	}
	if err := p.lowerLines(); err != nil {
		return err
	}
	if err := p.startInsertion(); err != nil {
		return err
	}
	p.fidelity = p.pairFidelity()
	p.logLimits()
	p.startPoller()
	return nil
}

// queryOptions asks the driver which records it can insert. The error is a *NotPairError if it is not com0com's.
func (p *port) queryOptions() error {
	var caps [capsSize]byte
	n, err := p.dev.Ioctl(LsrMstInsert, AppendCaps(nil), caps[:])
	if errors.Is(err, ErrDeviceClosed) {
		return err
	}
	var options uint32
	if err == nil {
		options, err = ParseCaps(caps[:n])
	}
	const needed = InsertGet | InsertModemStatus | InsertBaud | InsertLineControl
	if err == nil && options&needed != needed {
		err = fmt.Errorf("the driver inserts too little (%#x)", options)
	}
	if err != nil {
		return &NotPairError{p.ends.Agent, fmt.Sprintf("a device of another driver: %v", err)}
	}
	p.options = options & InsertAll
	p.next.getState = AppendInsert(nil, InsertGet|p.options)
	return nil
}

// configure sets the agent's end. 8N1 because the driver masks every byte to the shorter word length of the two ends: this
// leaves it to the application's. No handshake because with one the driver would stop our writes, and refuse to set the
// lines.
func (p *port) configure() error {
	const (
		xon, xoff = 0x11, 0x13
		waitOne   = math.MaxUint32 // as read interval and multiplier: a read returns once it has one byte (COMMTIMEOUTS)
		longest   = math.MaxUint32 - 1
	)
	line := [3]byte{0, 0, 8}
	if p.plain {
		var baud uint32
		baud, line = plainCoding(p.pinned)
		if err := p.ioctl(SetBaudRate, appendWords(nil, baud)); err != nil {
			return err
		}
	}
	for _, r := range []struct {
		code Ioctl
		in   []byte
	}{
		{SetLineControl, line[:]},
		{SetChars, []byte{0, 0, 0, 0, xon, xoff}},
		{SetHandFlow, appendWords(nil, 0, 0, 0, 0)},
		{SetQueueSize, appendWords(nil, queueSize, 4096)},
		{SetTimeouts, appendWords(nil, waitOne, waitOne, longest, 0, 0)},
	} {
		if err := p.ioctl(r.code, r.in); err != nil {
			return err
		}
	}
	return nil
}

// lowerLines turns all of the application's inputs off. After it was loaded, the driver updates an input that follows OUT2
// only once OUT2 has changed: so all outputs drop first.
func (p *port) lowerLines() error {
	if err := p.ioctl(SetModemControl, AppendModemControl(nil, 0, outAll)); err != nil {
		return err
	}
	drive, _ := p.ends.ApplicationPins.Drive(0)
	return p.ioctl(SetModemControl, AppendModemControl(nil, drive, outAll))
}

// startInsertion makes the driver insert records and applies the current state. What the application wrote before is in the
// driver's queue unescaped: as many bytes as there were just before. Next returns them first, or drops them if nobody has
// the application's end open any more.
func (p *port) startInsertion() error {
	s := &p.next
	status, err := p.commStatus()
	if err != nil {
		return err
	}
	n, err := p.dev.Ioctl(LsrMstInsert, s.getState, s.stateBuf[:])
	if err != nil {
		return fmt.Errorf("%v of %s: %w", LsrMstInsert, p.ends.Agent, err)
	}
	p.applyState(s.stateBuf[:n])
	p.mirrorBaud(s.coding.Baud)
	if !p.open.known() {
		p.reportOpen()
	}
	s.raw = int(status.queued)
	if s.dropRaw = !s.opened && s.raw > 0; s.dropRaw {
		p.log.Info("dropped bytes of a program that closed the port before the agent started", "bytes", s.raw)
	}
	return nil
}

// applyState applies the reply to InsertGet, a record of each kind. The coding comes first because an open reports it; the
// break comes last because it is reported only while the end is open.
func (p *port) applyState(reply []byte) {
	var d Decoder
	var line, modem Record
	for len(reply) > 0 {
		var r Record
		_, r, reply = d.Decode(reply)
		switch r.Kind {
		case RecordLine:
			line = r
		case RecordModem:
			modem = r
		default:
			p.apply(r)
		}
	}
	p.apply(modem)
	p.apply(line)
}

// commStatus is the part of a SERIAL_STATUS that is used here.
type commStatus struct {
	errors uint32 // since the previous request
	queued uint32 // bytes to read
}

func (p *port) commStatus() (commStatus, error) {
	s := p.next.statusBuf[:]
	n, err := p.dev.Ioctl(GetCommStatus, nil, s)
	if err == nil && n < 12 {
		err = fmt.Errorf("the driver returned %d bytes", n)
	}
	if err != nil {
		return commStatus{}, fmt.Errorf("%v of %s: %w", GetCommStatus, p.ends.Agent, err)
	}
	return commStatus{binary.LittleEndian.Uint32(s), binary.LittleEndian.Uint32(s[8:])}, nil
}

// pairFidelity is what this driver and these pins carry.
func (p *port) pairFidelity() uart.Fidelity {
	f := carried
	needs := func(ok bool, features uart.Fidelity) {
		if !ok {
			f = f.Without(features)
		}
	}
	needs(p.dtr.known(), uart.CarriesDTR)
	needs(p.rts.known(), uart.CarriesRTS)
	needs(p.reportsBreakEnd(), uart.CarriesBreak)
	needs(p.ends.ApplicationPins.shown() == uart.CTS|uart.DSR|uart.DCD|uart.RI, uart.CarriesModem)
	return f
}

// reportsBreakEnd reports whether the driver inserts a record when a break ends.
func (p *port) reportsBreakEnd() bool { return p.options&InsertBreakOff != 0 }

// logLimits logs what this pair does not carry, with the way out.
func (p *port) logLimits() {
	e := p.ends
	if e.Assumed {
		p.log.Warn("cannot read the pair's parameters; assuming com0com's default pins", "other_end", e.Agent)
	}
	if !p.open.known() {
		p.log.Warn("the pair's pins do not show whether a program has the port open; assuming that it always is",
			"other_end", e.Agent, "hint", "setupc change "+e.AgentID+" dcd=ropen")
	}
	if hidden := (uart.CTS | uart.DSR | uart.DCD | uart.RI) &^ e.ApplicationPins.shown(); hidden != 0 {
		p.log.Info("the pair's pins cannot show every line to the application", "hidden", hidden.String(),
			"hint", "setupc change "+e.ApplicationID+" dcd=rout1,ri=!rout2")
	}
	if e.EmuOverrun {
		p.log.Warn("EmuOverrun is on: the driver drops what a program writes faster than it can be sent",
			"other_end", e.Agent, "hint", "setupc change "+e.AgentID+" EmuOverrun=-")
	}
	if !p.reportsBreakEnd() {
		p.log.Info("this com0com does not report the end of a break, so breaks are not carried; 2.2 and newer do")
	}
}
