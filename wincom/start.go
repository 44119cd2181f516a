package wincom

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"telnetcpc/bridge/uart"
)

// queueSize is the room for what the application does while Next is not called, in the driver.
const queueSize = 64 << 10

// start takes the device into use, in the order that com0com wants. The coding, characters and handshakes of an end
// outlive who opened it, its queue does not: so everything is said at every open.
func (p *port) start() error {
	err := p.examine()
	if foreign := new(NotPairError); errors.As(err, &foreign) && p.pinned.DataBits != 0 {
		return p.startPlain(foreign.Device)
	}
	if err != nil {
		return err
	}
	if err := p.setUp(); err != nil {
		return err
	}
	if err := p.lower(); err != nil {
		return err
	}
	if err := p.begin(); err != nil {
		return err
	}
	p.fidelity = p.carries()
	p.remark()
	p.lifeStart()
	return nil
}

// examine finds out what the driver can tell.
func (p *port) examine() error {
	var answer [capsSize]byte
	n, err := p.dev.Ioctl(LsrMstInsert, AppendCaps(nil), answer[:])
	if errors.Is(err, ErrDeviceClosed) {
		return err
	}
	var options uint32
	if err == nil {
		options, err = ParseCaps(answer[:n])
	}
	const needed = InsertGet | InsertModemStatus | InsertBaud | InsertLineControl
	if err == nil && options&needed != needed {
		err = fmt.Errorf("the driver inserts too little (%#x)", options)
	}
	if err != nil {
		return &NotPairError{p.ends.Agent, fmt.Sprintf("a device of another driver: %v", err)}
	}
	p.options = options & InsertAll
	p.question = AppendInsert(nil, InsertGet|p.options)
	return nil
}

// setUp says what the agent's end is like. 8N1 is the line control of this end alone: the driver masks what passes to the
// smaller word length of the two. No handshake: with one the driver would stop our writes, and refuse the lines.
func (p *port) setUp() error {
	const (
		xon, xoff = 0x11, 0x13
		waitOne   = math.MaxUint32 // as read interval and multiplier: a read returns when it has one byte
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

// lower makes all lines of the device look off. The driver shows a line that follows OUT2 only once OUT2 has changed since
// it was loaded: so all outputs fall first.
func (p *port) lower() error {
	if err := p.ioctl(SetModemControl, AppendModemControl(nil, 0, outAll)); err != nil {
		return err
	}
	drive, _ := p.ends.ApplicationPins.Drive(0)
	return p.ioctl(SetModemControl, AppendModemControl(nil, drive, outAll))
}

// begin switches the insertion on and takes what is so now. What the application has written before is in the driver's
// queue as it is, not escaped: as many bytes as were there just before. They are dropped where nobody has the end open any
// more, else they are the first that Next returns.
func (p *port) begin() error {
	status, err := p.commStatus()
	if err != nil {
		return err
	}
	n, err := p.dev.Ioctl(LsrMstInsert, p.question, p.answer[:])
	if err != nil {
		return fmt.Errorf("%v of %s: %w", LsrMstInsert, p.ends.Agent, err)
	}
	p.takeState(p.answer[:n])
	p.mirror(p.coding.Baud)
	if !p.open.known() {
		p.opens()
	}
	p.raw = int(status.waiting)
	if p.rawDropped = !p.opened && p.raw > 0; p.rawDropped {
		p.log.Info("bytes of a program that has gone before there was an agent are dropped", "bytes", p.raw)
	}
	return nil
}

// takeState takes the driver's answer to InsertGet: a record of each kind. The coding comes first, for an open tells it;
// the break last, for it means something only while the end is open.
func (p *port) takeState(answer []byte) {
	var d Decoder
	var line, modem Record
	for len(answer) > 0 {
		var r Record
		_, r, answer = d.Decode(answer)
		switch r.Kind {
		case RecordLine:
			line = r
		case RecordModem:
			modem = r
		default:
			p.record(r)
		}
	}
	p.record(modem)
	p.record(line)
}

// commStatus is what is used of a SERIAL_STATUS.
type commStatus struct {
	errors  uint32 // since the last one
	waiting uint32 // bytes to be read
}

func (p *port) commStatus() (commStatus, error) {
	s := p.commBuf[:]
	n, err := p.dev.Ioctl(GetCommStatus, nil, s)
	if err == nil && n < 12 {
		err = fmt.Errorf("an answer of %d bytes", n)
	}
	if err != nil {
		return commStatus{}, fmt.Errorf("%v of %s: %w", GetCommStatus, p.ends.Agent, err)
	}
	return commStatus{binary.LittleEndian.Uint32(s), binary.LittleEndian.Uint32(s[8:])}, nil
}

// carries is what this driver and these pins carry.
func (p *port) carries() uart.Fidelity {
	f := carried
	without := func(known bool, features uart.Fidelity) {
		if !known {
			f = f.Without(features)
		}
	}
	without(p.dtr.known(), uart.CarriesDTR)
	without(p.rts.known(), uart.CarriesRTS)
	without(p.tellsBreak(), uart.CarriesBreak)
	without(p.ends.ApplicationPins.shown() == uart.CTS|uart.DSR|uart.DCD|uart.RI, uart.CarriesModem)
	return f
}

// tellsBreak reports whether the driver says when a break ends.
func (p *port) tellsBreak() bool { return p.options&InsertBreakOff != 0 }

// remark says what a user should know of the pair, with the way out.
func (p *port) remark() {
	e := p.ends
	if e.Assumed {
		p.log.Warn("the pair's parameters cannot be read; its pins count as com0com's defaults", "other_end", e.Agent)
	}
	if !p.open.known() {
		p.log.Warn("the pair's pins do not tell whether a program has the port open: it counts as always open", "other_end", e.Agent, "hint", "setupc change "+e.AgentID+" dcd=ropen")
	}
	if hidden := (uart.CTS | uart.DSR | uart.DCD | uart.RI) &^ e.ApplicationPins.shown(); hidden != 0 {
		p.log.Info("the pair's pins cannot show every line to the application", "hidden", hidden.String(),
			"hint", "setupc change "+e.ApplicationID+" dcd=rout1,ri=!rout2")
	}
	if e.EmuOverrun {
		p.log.Warn("EmuOverrun is on: the driver drops what a program writes faster than it can go out", "other_end", e.Agent, "hint", "setupc change "+e.AgentID+" EmuOverrun=-")
	}
	if !p.tellsBreak() {
		p.log.Info("this com0com does not tell when a break ends, so breaks are not carried; 2.2 and newer do")
	}
}
