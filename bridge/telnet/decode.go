package telnet

import "bytes"

const (
	// SubLimit bounds the value of a subnegotiation, in bytes; a longer one is skipped. The longest of RFC 2217 is a
	// signature.
	SubLimit = 1 << 10
	// SkipLimit bounds what is skipped, in bytes: a longer subnegotiation counts as endless.
	SkipLimit = 1 << 20
)

// Message is one command. The zero value is none.
type Message struct {
	Command Command
	Option  Option // of WILL, WONT, DO, DONT and SB
	// Sub is the value of an SB, unescaped. It belongs to the Decoder and is valid until the following call.
	Sub []byte
	// TooLong: a subnegotiation of more than SubLimit bytes was skipped, and Sub is nil. It is returned at its end, or as soon
	// as it is longer than SkipLimit.
	TooLong bool
	// Length is the length of the value that was too long, in bytes. If it is more than SkipLimit, the end has not come.
	Length int
}

// state is the decoder's position in a command.
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
	afterSkipped       // that IAC was the beginning of another command
)

// Decoder splits the bytes of a connection into data and commands. The stream may be cut anywhere. The Decoder keeps
// SubLimit bytes at most. The zero value is ready to use. One caller at a time.
type Decoder struct {
	// SingleFF is for servers that do not double a data byte 255: an IAC begins a command only before a verb or SB. A data
	// byte that has the value of a verb or SB and follows a 255 is decoded as a command. A 255 that is the last byte is left
	// pending: see Pending.
	SingleFF bool

	// NVT removes the NUL that follows a CR on a connection without BINARY (RFC 854).
	NVT bool

	state  state
	verb   Command
	option Option
	cr     bool // the last data byte was a CR
	sub    []byte
	length int     // of a subnegotiation that is too long; beyond SkipLimit it has been returned and is not counted any more
	one    [1]byte // holds a 255 that is returned as data when src has no room for it
}

// Decode decodes src up to the first command. data is what came before the command, unescaped in place: it is a part of
// src, which is overwritten, or belongs to the Decoder until the following call. m is the command, or the zero Message.
// rest is the part of src that is not decoded yet, for the next call. Decode allocates nothing but the buffer for
// subnegotiations, once.
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
			d.state = inData // and c is decoded again
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
			i-- // c is decoded again
		}
		if whole {
			return src[:n], m, src[i:]
		}
	}
	return src[:n], Message{}, nil
}

// Pending reports whether the last byte was an IAC: the beginning of a command or, with SingleFF, perhaps data.
func (d *Decoder) Pending() bool { return d.state == afterIAC }

// Flush returns a pending IAC as data, which belongs to the Decoder until the following call; nothing if none is pending. It
// is for SingleFF, after a silence. If the IAC was the beginning of a command after all, the rest of it is decoded as data.
func (d *Decoder) Flush() []byte {
	if d.state != afterIAC {
		return nil
	}
	d.state = inData
	return d.one[:d.put(d.one[:], byte(IAC))]
}

// transparent moves data from src[i:] to src[n:], up to an IAC that may begin a command, which it skips. It returns the
// new n and i. It moves whole runs, not single bytes: in random data only every 256th byte is a 255.
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
	if i != n { // otherwise the bytes are in place already
		copy(src[n:], src[i:i+k])
	}
	n, i = n+k, i+k
	if d.state == afterIAC {
		i++
	}
	return n, i
}

// put stores one data byte in to[0] and returns how many bytes it has stored: 0 if c is the NUL after a CR.
func (d *Decoder) put(to []byte, c byte) int {
	after := d.cr
	d.cr = c == '\r'
	if d.NVT && after && c == 0 {
		return 0
	}
	to[0] = c
	return 1
}

// command processes the next byte of a command and reports whether the command is complete.
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

// begin processes the byte after an IAC, other than a second IAC.
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

// escaped processes the byte after an IAC in a subnegotiation.
func (d *Decoder) escaped(c Command) (m Message, whole bool) {
	switch {
	case c == SE:
		d.state = inData
		return Message{Command: SB, Option: d.option, Sub: d.sub}, true
	case c == IAC:
		d.state = inSub
		return d.keep(byte(c))
	case c > SE: // the end is missing, and the next command has begun
		return d.begin(c)
	}
	// A 255 that the peer has not doubled, for example in the baud rate 65280.
	d.state = inSub
	d.keep(byte(IAC))
	if d.state == inSkipped {
		return d.skip(1)
	}
	return d.keep(byte(c))
}

// keep adds a byte to the value of the subnegotiation.
func (d *Decoder) keep(c byte) (m Message, whole bool) {
	if len(d.sub) == SubLimit {
		d.state, d.length = inSkipped, SubLimit
		return d.skip(1)
	}
	d.state = inSub
	d.sub = append(d.sub, c)
	return Message{}, false
}

// skip counts bytes of a subnegotiation that is too long. When the length exceeds SkipLimit, it returns the Message,
// once.
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

// skipped processes the byte after an IAC in a subnegotiation that is too long, as escaped does.
func (d *Decoder) skipped(c Command) (m Message, whole bool) {
	returned := d.length > SkipLimit
	switch {
	case c == SE:
		d.state = inData
		return d.tooLong(), !returned
	case c == IAC:
		return d.skip(1)
	case c > SE && returned:
		return d.begin(c)
	case c > SE: // the end is missing: the Message for the long one is returned first
		d.state = afterSkipped
		return d.tooLong(), true
	}
	return d.skip(2)
}

// tooLong returns the Message for a subnegotiation that is too long.
func (d *Decoder) tooLong() Message {
	return Message{Command: SB, Option: d.option, TooLong: true, Length: d.length}
}
