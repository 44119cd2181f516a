package wincom

import (
	"bytes"
	"encoding/binary"

	"telnetcpc/bridge/uart"
)

// RecordKind says what the driver inserted: the byte behind Escape.
type RecordKind uint8

// The records. Their bytes are never escaped.
const (
	RecordError       RecordKind = 1    // line status, byte: a byte that arrived damaged, or with LineBreak a break
	RecordLine        RecordKind = 2    // line status without a byte
	RecordModem       RecordKind = 3    // modem status
	RecordBaud        RecordKind = 0x10 // rate (4)
	RecordLineControl RecordKind = 0x11 // data bits, parity, stop bits

	// RecordUnknown stands for every code that is none of these; it is no code itself.
	RecordUnknown RecordKind = 0xFF

	codeEscape = 0 // no record: a byte of the data that equals Escape
)

// size is how many bytes follow the code.
func (k RecordKind) size() int {
	switch k {
	case RecordError:
		return 2
	case RecordLine, RecordModem:
		return 1
	case RecordBaud:
		return 4
	case RecordLineControl:
		return 3
	}
	return 0
}

// Record is one thing that the driver inserted. The zero value is none.
type Record struct {
	Kind   RecordKind
	Line   uart.LineState  // RecordError, RecordLine: the line status, whose bits are those of RFC 2217
	Char   byte            // RecordError
	Modem  uart.ModemState // RecordModem: the state of the own end's inputs
	Coding uart.Coding     // RecordBaud, RecordLineControl: what it says; what it says wrongly is not said
	Code   byte            // RecordUnknown
}

// Decoder takes apart what is read from an end while records are inserted. It keeps its state over any cut of the stream.
// The zero value is ready. One caller at a time.
type Decoder struct {
	state   decoderState
	kind    RecordKind
	have    int
	payload [4]byte
}

type decoderState uint8

const (
	inData decoderState = iota
	afterEscape
	inPayload
)

// Decode takes src apart up to the first record in it. data is what came before the record, unescaped in place: it is a
// part of src, which is overwritten. r is the record, or none. rest is what is left of src, for the next call. Nothing is
// allocated. A code that is not known is consumed with its Escape, and the stream goes on behind it.
func (d *Decoder) Decode(src []byte) (data []byte, r Record, rest []byte) {
	n := 0 // src[:n] is data
	for i := 0; i < len(src); {
		switch d.state {
		case inData:
			k := bytes.IndexByte(src[i:], Escape)
			if k < 0 {
				k = len(src) - i
			} else {
				d.state = afterEscape
			}
			if i != n {
				copy(src[n:], src[i:i+k])
			}
			n, i = n+k, i+k
			if d.state == afterEscape {
				i++
			}
		case afterEscape:
			code := src[i]
			i++
			d.state = inData
			if code == codeEscape {
				src[n] = Escape
				n++
				break
			}
			if d.kind = RecordKind(code); d.kind.size() == 0 {
				return src[:n], Record{Kind: RecordUnknown, Code: code}, src[i:]
			}
			d.state, d.have = inPayload, 0
		case inPayload:
			k := copy(d.payload[d.have:d.kind.size()], src[i:])
			d.have, i = d.have+k, i+k
			if d.have == d.kind.size() {
				d.state = inData
				return src[:n], d.record(), src[i:]
			}
		}
	}
	return src[:n], Record{}, nil
}

// record reads a payload that is whole.
func (d *Decoder) record() Record {
	r, p := Record{Kind: d.kind}, d.payload
	switch d.kind {
	case RecordError:
		r.Line, r.Char = uart.LineState(p[0]), p[1]
	case RecordLine:
		r.Line = uart.LineState(p[0])
	case RecordModem:
		r.Modem = uart.ModemState(p[0]) & (uart.CTS | uart.DSR | uart.RI | uart.DCD)
	case RecordBaud:
		r.Coding.Baud = binary.LittleEndian.Uint32(p[:])
	case RecordLineControl:
		r.Coding = lineControl(p[0], p[1], p[2])
	}
	return r
}

// lineControl reads Windows' numbers: parity none 0, odd 1, even 2, mark 3, space 4; stop bits 1 as 0, 1.5 as 1, 2 as 2.
func lineControl(data, parity, stop byte) (c uart.Coding) {
	if data >= 5 && data <= 8 {
		c.DataBits = data
	}
	if parity <= 4 {
		c.Parity = uart.ParityNone + uart.Parity(parity)
	}
	if stop <= 2 {
		c.StopBits = [...]uart.StopBits{uart.Stop1, uart.Stop1Half, uart.Stop2}[stop]
	}
	return c
}
