package wincom

import (
	"encoding/binary"
	"errors"
)

// com0com's extensions of two requests. Each is known by its signature; a driver that does not know the extension takes
// LSRMST_INSERT for the plain one, and answers nothing.

// signature is "c0c" and a NUL.
const signature = "c0c\x00"

// Escape begins a record in the bytes that are read. It must differ from the XON and XOFF characters of the own end; one
// of the data comes as two bytes.
const Escape = 0xFF

// Options of the extended LSRMST_INSERT: which records are inserted, and what else the one call does.
const (
	InsertLineStatus  = 0x1   // RecordLine, RecordError
	InsertModemStatus = 0x2   // RecordModem
	InsertBaud        = 0x100 // RecordBaud
	InsertLineControl = 0x200 // RecordLineControl
	InsertBreakOff    = 0x400 // RecordLine when a break ends, too

	// InsertAll is all that a port wants.
	InsertAll = InsertLineStatus | InsertModemStatus | InsertBaud | InsertLineControl | InsertBreakOff

	InsertGet   = 0x01000000 // answer with a record of each kind: what is so now
	InsertClear = 0x02000000 // discard what was received

	insertCaps = 0xFFFFFFFF // answer with the options that the driver knows
)

const (
	capsSize   = len(signature) + 4
	stateSize  = 3 + 3 + 6 + 5 // the records of an answer to InsertGet with InsertAll
	modemWords = 2
)

// AppendCaps appends the question for the driver's options. It switches the insertion off.
func AppendCaps(dst []byte) []byte { return AppendInsert(dst, insertCaps) }

// AppendInsert appends the extended LSRMST_INSERT. Each one replaces the records of the one before.
func AppendInsert(dst []byte, options uint32) []byte {
	dst = append(dst, Escape)
	dst = append(dst, signature...)
	return binary.LittleEndian.AppendUint32(dst, options)
}

var errNoExtension = errors.New("the driver does not know com0com's extension")

// ParseCaps reads the answer to AppendCaps.
func ParseCaps(answer []byte) (options uint32, err error) {
	if len(answer) < capsSize || string(answer[:len(signature)]) != signature {
		return 0, errNoExtension
	}
	return binary.LittleEndian.Uint32(answer[len(signature):]), nil
}

// AppendModemControl appends the extended SET_MODEM_CONTROL: of the outputs only those in mask change.
func AppendModemControl(dst []byte, value, mask Output) []byte {
	dst = appendWords(dst, uint32(value), uint32(mask))
	return append(dst, signature...)
}
