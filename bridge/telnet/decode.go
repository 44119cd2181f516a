package telnet

import "bytes"

const (
	// SubLimit bounds the value of a subnegotiation, in bytes; a longer one is skipped. The longest that RFC 2217 knows is
	// a signature.
	SubLimit = 1 << 10
	// SkipLimit bounds what is skipped, in bytes: a subnegotiation that is longer has no end.
	SkipLimit = 1 << 20
)

// Message is one command that the decoder found. The zero value is none.
type Message struct {
	Command Command
	Option  Option // WILL, WONT, DO, DONT, SB
	// Sub is an SB's value, unescaped; it belongs to the decoder and is valid until the following Decode.
	Sub []byte
	// TooLong says that a subnegotiation of more than SubLimit bytes has been skipped: Sub is nil. It comes at its end, or
	// as soon as it has passed SkipLimit.
	TooLong bool
	// Length is how long the value was that was too long, in bytes; more than SkipLimit: its end has not come.
	Length int
}

// state is where in a command the decoder stands.
type state uint8

const (
	inData       state = iota
	afterIAC           // IAC came
	afterVerb          // IAC and WILL, WONT, DO or DONT came
	afterSB            // IAC SB came, the option is next
	inSub              // inside a subnegotiation
	inSubIAC           // IAC came inside a subnegotiation
	inSkipped          // inside a subnegotiation that is too long
	inSkippedIAC       // IAC came inside it
	afterSkipped       // and is the beginning of another command
)

// Decoder takes the bytes of a connection apart. It keeps its state over any cut of the stream, and at most SubLimit
// bytes. The zero value is ready. One caller at a time.
type Decoder struct {
	// SingleFF is for servers that send a 255 of data once: what follows an IAC is then a command only where it is a
	// verb or SB. It cannot tell such a byte behind a 255 of data from a command: nobody can. Nor does it see that a 255
	// was the last byte of all: see Pending.
	SingleFF bool

	// NVT removes the NUL that a connection without BINARY puts behind a CR (RFC 854).
	NVT bool

	state  state
	verb   Command
	option Option
	cr     bool // the last data byte was a CR
	sub    []byte
	length int     // of a subnegotiation that is too long; beyond SkipLimit it has been told of, and is not counted
	one    [1]byte // a 255 for which src has no room
}

// Decode takes src apart up to the first command in it. data is what came before the command, unescaped in place: it
// is a part of src, which is overwritten, or the decoder's until the following call. m is the command, or none. rest
// is what is left of src, for the next call. Nothing is allocated but, once, the room for a subnegotiation.
func (d *Decoder) Decode(src []byte) (data []byte, m Message, rest []byte) {
	n := 0 // src[:n] is data
	for i := 0; i < len(src); {
		if d.state == inData && !d.NVT {
			n, i = d.transparent(src, n, i)
			continue
		}
		c := src[i]
		switch {
		case d.state == inData:
			i++
			if c == byte(IAC) {
				d.state = afterIAC
			} else {
				n += d.put(src[n:], c)
			}
			continue
		case d.state == afterIAC && d.SingleFF && !Command(c).Verb() && Command(c) != SB:
			d.state = inData // and c is looked at anew
			if i == 0 {
				d.one[0], d.cr = byte(IAC), false
				return d.one[:], Message{}, src
			}
			n += d.put(src[n:], byte(IAC))
			continue
		case d.state == afterIAC && Command(c) == IAC:
			d.state = inData
			i++
			n += d.put(src[n:], c)
			continue
		}
		i++
		m, whole := d.command(c)
		if d.state == afterSkipped && whole {
			i-- // c is looked at anew
		}
		if whole {
			return src[:n], m, src[i:]
		}
	}
	return src[:n], Message{}, nil
}

// Pending reports whether an IAC came, and nothing after it yet: the beginning of a command, or, from a server that sends a
// 255 of data once, perhaps its last byte.
func (d *Decoder) Pending() bool { return d.state == afterIAC }

// Flush gives up the wait for what follows a pending IAC: it returns it as data, which is the decoder's until the following
// call, or nothing where none is pending. It is for SingleFF, after a silence. The rest of a command that was torn apart
// by a longer silence comes as data then, and its IAC did: nobody can tell the two.
func (d *Decoder) Flush() []byte {
	if d.state != afterIAC {
		return nil
	}
	d.state = inData
	return d.one[:d.put(d.one[:], byte(IAC))]
}

// transparent moves data from src[i:] to src[n:], up to and including an IAC that may begin a command, and returns where
// the two stand then. It moves stretches, not bytes: in random data every 256th byte is a 255.
func (d *Decoder) transparent(src []byte, n, i int) (int, int) {
	d.cr = false
	for !d.SingleFF && i+1 < len(src) && src[i] == byte(IAC) && src[i+1] == byte(IAC) {
		src[n] = byte(IAC)
		n, i = n+1, i+2
	}
	k := bytes.IndexByte(src[i:], byte(IAC))
	if k < 0 {
		k = len(src) - i
	} else {
		d.state = afterIAC
	}
	if i != n { // else all so far stays where it is
		copy(src[n:], src[i:i+k])
	}
	n, i = n+k, i+k
	if d.state == afterIAC {
		i++
	}
	return n, i
}

// put puts one byte of data at the beginning of to and returns how many it put: none for the NUL behind a CR.
func (d *Decoder) put(to []byte, c byte) int {
	after := d.cr
	d.cr = c == '\r'
	if d.NVT && after && c == 0 {
		return 0
	}
	to[0] = c
	return 1
}

// command takes the next byte of a command and says whether the command is whole.
func (d *Decoder) command(c byte) (m Message, whole bool) {
	switch d.state {
	case afterIAC:
		return d.begin(Command(c))
	case afterVerb:
		d.state = inData
		return Message{Command: d.verb, Option: Option(c)}, true
	case afterSB:
		d.state, d.option, d.sub = inSub, Option(c), d.sub[:0]
	case inSub:
		if Command(c) == IAC {
			d.state = inSubIAC
			break
		}
		return d.keep(c)
	case inSubIAC:
		return d.escaped(Command(c))
	case inSkipped:
		if Command(c) == IAC {
			d.state = inSkippedIAC
			break
		}
		return d.skip(1)
	case inSkippedIAC:
		return d.skipped(Command(c))
	case afterSkipped:
		return d.begin(Command(c))
	}
	return Message{}, false
}

// begin takes the byte behind an IAC, other than a second IAC.
func (d *Decoder) begin(c Command) (m Message, whole bool) {
	switch {
	case c.Verb():
		d.state, d.verb = afterVerb, c
	case c == SB:
		d.state = afterSB
	default:
		d.state = inData
		return Message{Command: c}, true
	}
	return Message{}, false
}

// escaped takes the byte behind an IAC inside a subnegotiation.
func (d *Decoder) escaped(c Command) (m Message, whole bool) {
	switch {
	case c == SE:
		d.state = inData
		return Message{Command: SB, Option: d.option, Sub: d.sub}, true
	case c == IAC:
		d.state = inSub
		return d.keep(byte(c))
	case c > SE: // its end is missing: the next command has begun
		return d.begin(c)
	}
	// A 255 that the peer did not double: a baud rate like 65280, from a careless server.
	d.state = inSub
	d.keep(byte(IAC))
	if d.state == inSkipped {
		return d.skip(1)
	}
	return d.keep(byte(c))
}

// keep adds a byte to the subnegotiation's value.
func (d *Decoder) keep(c byte) (m Message, whole bool) {
	if len(d.sub) == SubLimit {
		d.state, d.length = inSkipped, SubLimit
		return d.skip(1)
	}
	d.state = inSub
	d.sub = append(d.sub, c)
	return Message{}, false
}

// skip counts bytes of a subnegotiation that is too long. It reports the one that has no end, once.
func (d *Decoder) skip(n int) (m Message, whole bool) {
	d.state = inSkipped
	if d.length > SkipLimit {
		return Message{}, false
	}
	if d.length += n; d.length <= SkipLimit {
		return Message{}, false
	}
	return d.tooLong(), true
}

// skipped takes the byte behind an IAC inside a subnegotiation that is too long, as escaped does.
func (d *Decoder) skipped(c Command) (m Message, whole bool) {
	told := d.length > SkipLimit
	switch {
	case c == SE:
		d.state = inData
		return d.tooLong(), !told
	case c == IAC:
		return d.skip(1)
	case c > SE && told:
		return d.begin(c)
	case c > SE: // its end is missing: that is told first
		d.state = afterSkipped
		return d.tooLong(), true
	}
	return d.skip(2)
}

// tooLong is what is told of a subnegotiation that is too long.
func (d *Decoder) tooLong() Message {
	return Message{Command: SB, Option: d.option, TooLong: true, Length: d.length}
}
