package wincom

import (
	"fmt"
	"strconv"
	"strings"

	"telnetcpc/bridge/uart"
)

// Pin says what drives one input of an end of a pair, as the number in the driver's registry parameters (cts, dsr, dcd,
// ri) says it: a set of outputs of the other end (R...) and of the own end (L...), of which one that is on suffices.
type Pin uint32

// The outputs. They are not the bits of a modem control register.
const (
	PinRRTS  Pin = 1
	PinRDTR  Pin = 2
	PinROUT1 Pin = 4
	PinROUT2 Pin = 8
	PinROPEN Pin = 0x80 // a program has the other end open
	PinLRTS  Pin = PinRRTS << 8
	PinLDTR  Pin = PinRDTR << 8
	PinLOUT1 Pin = PinROUT1 << 8
	PinLOUT2 Pin = PinROUT2 << 8
	PinLOPEN Pin = PinROPEN << 8
	PinOn    Pin = 0x10000000 // always
	PinNot   Pin = 0x80000000 // the input is the inverse
)

// pinNames are setupc's words.
var pinNames = []struct {
	pin  Pin
	name string
}{
	{PinRRTS, "rrts"}, {PinRDTR, "rdtr"}, {PinROUT1, "rout1"}, {PinROUT2, "rout2"}, {PinROPEN, "ropen"},
	{PinLRTS, "lrts"}, {PinLDTR, "ldtr"}, {PinLOUT1, "lout1"}, {PinLOUT2, "lout2"}, {PinLOPEN, "lopen"}, {PinOn, "on"},
}

// String writes a pin in setupc's words: rrts, !rout2, on. Several outputs, which setupc cannot say, are joined with "|";
// none, and unknown ones, are a hex number.
func (p Pin) String() string {
	var parts []string
	rest := p &^ PinNot
	for _, n := range pinNames {
		if rest&n.pin != 0 {
			parts = append(parts, n.name)
			rest &^= n.pin
		}
	}
	if rest != 0 || len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%#x", uint32(rest)))
	}
	text := strings.Join(parts, "|")
	if p&PinNot != 0 {
		return "!" + text
	}
	return text
}

// ParsePin reads what String writes, in either case.
func ParsePin(s string) (Pin, error) {
	words, not := strings.CutPrefix(s, "!")
	var p Pin
next:
	for word := range strings.SplitSeq(words, "|") {
		for _, n := range pinNames {
			if strings.EqualFold(word, n.name) {
				p |= n.pin
				continue next
			}
		}
		digits, ok := strings.CutPrefix(strings.ToLower(word), "0x")
		v, err := strconv.ParseUint(digits, 16, 32)
		if !ok || err != nil || Pin(v)&PinNot != 0 {
			return 0, fmt.Errorf("pin %q: want one of rrts, rdtr, rout1, rout2, ropen, lrts, ldtr, lout1, lout2, lopen, on, with ! before it for the inverse", s)
		}
		p |= Pin(v)
	}
	if not {
		p |= PinNot
	}
	return p, nil
}

// Pins are the inputs of one end of a pair.
type Pins struct{ CTS, DSR, DCD, RI Pin }

// DefaultPins are those of an end for which nothing else was said.
func DefaultPins() Pins {
	return Pins{CTS: PinRRTS, DSR: PinRDTR, DCD: PinRDTR, RI: PinOn | PinNot}
}

// ApplicationPins are what the application's end should have. Its DCD comes from OUT1, which falls when the agent dies;
// its RI from OUT2 inverted, for OUT2 is on while the agent is not there.
func ApplicationPins() Pins {
	p := DefaultPins()
	p.DCD, p.RI = PinROUT1, PinROUT2|PinNot
	return p
}

// AgentPins are what the agent's end should have: its DCD says whether the application has its end open.
func AgentPins() Pins {
	p := DefaultPins()
	p.DCD = PinROPEN
	return p
}

// input is one input by its name.
type input struct {
	name string
	line uart.ModemState // the bit that it is of the modem status
	pin  *Pin
}

// inputs lists the inputs, in the order in which they claim an output that several of them want.
func (p *Pins) inputs() [4]input {
	return [4]input{{"cts", uart.CTS, &p.CTS}, {"dsr", uart.DSR, &p.DSR}, {"dcd", uart.DCD, &p.DCD}, {"ri", uart.RI, &p.RI}}
}

// String writes all four as setupc's parameters: cts=rrts,dsr=rdtr,dcd=ropen,ri=!on.
func (p Pins) String() string {
	var words []string
	for _, in := range p.inputs() {
		words = append(words, in.name+"="+in.pin.String())
	}
	return strings.Join(words, ",")
}

// parameters are the ones of a pair's end that has these pins: those that are not the default.
func (p Pins) parameters() (words []string) {
	usual := DefaultPins()
	for i, in := range p.inputs() {
		if *in.pin != *usual.inputs()[i].pin {
			words = append(words, in.name+"="+in.pin.String())
		}
	}
	return words
}

// ParsePins reads what String writes.
func ParsePins(s string) (Pins, error) { return PinsOf(strings.Split(s, ",")) }

// PinsOf reads the pins among an end's parameters in setupc's words, as End has them: dcd=rout1. What is not said is the
// default, and so is "-"; words about something else are passed over.
func PinsOf(parameters []string) (Pins, error) {
	p := DefaultPins()
	for _, word := range parameters {
		key, value, _ := strings.Cut(word, "=")
		for _, in := range p.inputs() {
			if !strings.EqualFold(key, in.name) || value == "-" {
				continue
			}
			pin, err := ParsePin(value)
			if err != nil {
				return Pins{}, fmt.Errorf("%s: %w", word, err)
			}
			*in.pin = pin
		}
	}
	return p, nil
}

// Output is what an end drives: the bits of its modem control register, and whether it is open.
type Output uint8

// The outputs of an end, as SET_MODEM_CONTROL has them.
const (
	OutDTR  Output = 1
	OutRTS  Output = 2
	OutOUT1 Output = 4
	OutOUT2 Output = 8
	outAll         = OutDTR | OutRTS | OutOUT1 | OutOUT2
)

// output returns the one output of the other end that a pin follows, and whether it follows the inverse. 0: it follows
// another thing, or several.
func (p Pin) output() (o Output, inverse bool) {
	switch p &^ PinNot {
	case PinRRTS:
		o = OutRTS
	case PinRDTR:
		o = OutDTR
	case PinROUT1:
		o = OutOUT1
	case PinROUT2:
		o = OutOUT2
	}
	return o, p&PinNot != 0
}

// constant reports whether a pin is always the same while the agent has its end open, and what it is then.
func (p Pin) constant() (on, always bool) {
	always = p&^PinNot&(PinOn|PinROPEN) != 0 || p&^PinNot == 0
	return (p&^PinNot != 0) != (p&PinNot != 0), always
}

// Drive returns what the agent's end must drive for an application's end with these pins to see m, and what of it cannot
// be shown: lines whose pin follows something else, or an output that a line before them (CTS, DSR, DCD, RI) has.
func (p Pins) Drive(m uart.ModemState) (drive Output, missing uart.ModemState) {
	var claimed Output
	for _, in := range p.inputs() {
		want := m&in.line != 0
		o, inverse := in.pin.output()
		on, always := in.pin.constant()
		switch {
		case o == 0 && always && on == want:
		case o == 0:
			missing |= in.line
		case claimed&o == 0:
			claimed |= o
			if want != inverse {
				drive |= o
			}
		case (drive&o != 0) != (want != inverse):
			missing |= in.line
		}
	}
	return drive, missing
}

// shown are the lines that an application's end with these pins can see each for itself.
func (p Pins) shown() (lines uart.ModemState) {
	var claimed Output
	for _, in := range p.inputs() {
		if o, _ := in.pin.output(); o != 0 && claimed&o == 0 {
			claimed |= o
			lines |= in.line
		}
	}
	return lines
}

// reading is how one output of the other end is read from a modem status. The zero value: it is not.
type reading struct {
	line    uart.ModemState
	inverse bool
}

func (r reading) known() bool { return r.line != 0 }

// on reads it. Of an output that is not read it is false.
func (r reading) on(status uart.ModemState) bool {
	return r.line != 0 && (status&r.line != 0) != r.inverse
}

// reads says how an agent's end with these pins reads what drives them.
func (p Pins) reads(what Pin) reading {
	for _, in := range p.inputs() {
		if *in.pin&^PinNot == what {
			return reading{in.line, *in.pin&PinNot != 0}
		}
	}
	return reading{}
}
