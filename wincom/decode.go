package wincom

import (
	"bytes"
	"encoding/binary"

	"telnetcpc/bridge/uart"
)

// RecordKind is the kind of a record: the byte after Escape.
type RecordKind uint8

// The kinds, with their payloads. A payload is never escaped, even if it contains Escape.
const (
	RecordError       RecordKind = 1    // line status, byte: a damaged byte, or with LineBreak a break
	RecordLine        RecordKind = 2    // line status
	RecordModem       RecordKind = 3    // modem status
	RecordBaud        RecordKind = 0x10 // baud rate (4 bytes)
	RecordLineControl RecordKind = 0x11 // data bits, parity, stop bits

	// RecordUnknown is a record with any other code. It is not itself a code.
	RecordUnknown RecordKind = 0xFF

	codeEscape = 0 // not a record: a data byte that equals Escape
)

// size is the size of the payload; 0 if the kind is unknown.
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

// Record is one decoded record. The zero value is none.
type Record struct {
	Kind   RecordKind
	Line   uart.LineState  // RecordError, RecordLine: the bits are those of RFC 2217 too
	Char   byte            // RecordError
	Modem  uart.ModemState // RecordModem: the inputs of the end that is read
	Coding uart.Coding     // RecordBaud, RecordLineControl: the peer's; invalid values are unset
	Code   byte            // RecordUnknown
}

// Decoder separates the data from the records in what is read from an end. A record may be split between calls at any byte.
// The zero value is ready. It is for one goroutine.
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

// Decode decodes src up to the end of its first record. data is the data before the record, unescaped in place: it is part
// of src, which is overwritten. r is the record, or none. rest is the remainder of src, for the next call. Nothing is
// allocated. An unknown code is consumed with its Escape; data follows it.
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

// record decodes the complete payload.
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

// lineControl converts from SERIAL_LINE_CONTROL (ntddser.h): parity none 0, odd 1, even 2, mark 3, space 4; stop bits 1 as
// 0, 1.5 as 1, 2 as 2.
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
