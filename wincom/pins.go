package wincom

import (
	"fmt"
	"strconv"
	"strings"

	"telnetcpc/bridge/uart"
)

// Pin is the wiring of one input of an end: the value of one of the driver's registry parameters cts, dsr, dcd and ri. It
// is a set of outputs of the other end (R for remote) and of its own (L for local); the input is on if any of them is.
type Pin uint32

// The outputs. The bits differ from those of a modem control register.
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

// pinNames are setupc's names.
var pinNames = []struct {
	pin  Pin
	name string
}{
	{PinRRTS, "rrts"}, {PinRDTR, "rdtr"}, {PinROUT1, "rout1"}, {PinROUT2, "rout2"}, {PinROPEN, "ropen"},
	{PinLRTS, "lrts"}, {PinLDTR, "ldtr"}, {PinLOUT1, "lout1"}, {PinLOUT2, "lout2"}, {PinLOPEN, "lopen"}, {PinOn, "on"},
}

// String returns setupc's name: rrts, !rout2, on. Several outputs, for which setupc has no syntax, are joined with "|";
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

// ParsePin parses what String returns, in either case.
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

// DefaultPins are com0com's defaults.
func DefaultPins() Pins {
	return Pins{CTS: PinRRTS, DSR: PinRDTR, DCD: PinRDTR, RI: PinOn | PinNot}
}

// ApplicationPins are the pins of the application's end of a pair that telnetcpc makes. DCD follows OUT1, which drops when
// the agent dies; RI follows OUT2 inverted, because OUT2 is on while no agent is there.
func ApplicationPins() Pins {
	p := DefaultPins()
	p.DCD, p.RI = PinROUT1, PinROUT2|PinNot
	return p
}

// AgentPins are the pins of the agent's end of a pair that telnetcpc makes: DCD is on while the application has its end
// open.
func AgentPins() Pins {
	p := DefaultPins()
	p.DCD = PinROPEN
	return p
}

// input is one input of an end.
type input struct {
	name string
	line uart.ModemState // its bit
	pin  *Pin
}

// inputs lists the inputs. If several follow the same output, the first of them decides it.
func (p *Pins) inputs() [4]input {
	return [4]input{{"cts", uart.CTS, &p.CTS}, {"dsr", uart.DSR, &p.DSR}, {"dcd", uart.DCD, &p.DCD}, {"ri", uart.RI, &p.RI}}
}

// String returns all four as setupc's parameters: cts=rrts,dsr=rdtr,dcd=ropen,ri=!on.
func (p Pins) String() string {
	var words []string
	for _, in := range p.inputs() {
		words = append(words, in.name+"="+in.pin.String())
	}
	return strings.Join(words, ",")
}

// parameters returns setupc's parameters for these pins, without the defaults.
func (p Pins) parameters() (words []string) {
	usual := DefaultPins()
	for i, in := range p.inputs() {
		if *in.pin != *usual.inputs()[i].pin {
			words = append(words, in.name+"="+in.pin.String())
		}
	}
	return words
}

// ParsePins parses what String returns.
func ParsePins(s string) (Pins, error) { return PinsOf(strings.Split(s, ",")) }

// PinsOf returns the pins among the parameters of an end, in setupc's syntax: dcd=rout1. A missing one, and "-", is the
// default. Other parameters are ignored.
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

// Output is a set of outputs that an end drives, as bits of its modem control register.
type Output uint8

// The outputs, as SetModemControl takes them.
const (
	OutDTR  Output = 1
	OutRTS  Output = 2
	OutOUT1 Output = 4
	OutOUT2 Output = 8
	outAll         = OutDTR | OutRTS | OutOUT1 | OutOUT2
)

// output returns the output of the other end that a pin follows, and whether inverted. It is 0 if the pin follows something
// else, or several outputs.
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

// constant reports whether a pin never changes while the agent has its end open, and its state then.
func (p Pin) constant() (on, always bool) {
	always = p&^PinNot&(PinOn|PinROPEN) != 0 || p&^PinNot == 0
	return (p&^PinNot != 0) != (p&PinNot != 0), always
}

// Drive returns what the agent's end must drive so that an application's end with these pins sees m. missing has the lines
// that would be wrong: their pin follows something else, or an output that an earlier line (in the order CTS, DSR, DCD, RI)
// decides.
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

// shown returns the lines that can be shown independently to an application's end with these pins.
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

// reading is where an end reads one output of the other end: an input, or its inverse. The zero value means nowhere.
type reading struct {
	line    uart.ModemState
	inverse bool
}

func (r reading) known() bool { return r.line != 0 }

// on returns the output's state for a modem status; false if it is not known.
func (r reading) on(status uart.ModemState) bool {
	return r.line != 0 && (status&r.line != 0) != r.inverse
}

// readingOf returns where an end with these pins reads an output of the other end.
func (p Pins) readingOf(output Pin) reading {
	for _, in := range p.inputs() {
		if *in.pin&^PinNot == output {
			return reading{in.line, *in.pin&PinNot != 0}
		}
	}
	return reading{}
}
