package wincom

import (
	"encoding/binary"
	"errors"
)

// com0com's extensions of two requests. The driver recognises them by a signature; one without the extension performs the
// plain LSRMST_INSERT, which returns nothing.

// signature is "c0c" and a NUL.
const signature = "c0c\x00"

// Escape begins a record in the bytes that are read. It must differ from the XON and XOFF characters of the end that reads
// it. The same value in the data arrives as two bytes.
const Escape = 0xFF

// Options of the extended LSRMST_INSERT: which records the driver inserts, and what else the request does.
const (
	InsertLineStatus  = 0x1   // RecordLine, RecordError
	InsertModemStatus = 0x2   // RecordModem
	InsertBaud        = 0x100 // RecordBaud
	InsertLineControl = 0x200 // RecordLineControl
	InsertBreakOff    = 0x400 // RecordLine also when a break ends

	// InsertAll is everything that a port uses.
	InsertAll = InsertLineStatus | InsertModemStatus | InsertBaud | InsertLineControl | InsertBreakOff

	InsertGet   = 0x01000000 // return the current state, as one record of each enabled kind
	InsertClear = 0x02000000 // discard received bytes

	insertCaps = 0xFFFFFFFF // return the options that the driver supports
)

const (
	capsSize  = len(signature) + 4
	stateSize = 3 + 3 + 6 + 5 // what InsertGet with InsertAll returns
)

// AppendCaps appends the request for the options that the driver supports. It also turns insertion off.
func AppendCaps(dst []byte) []byte { return AppendInsert(dst, insertCaps) }

// AppendInsert appends the extended LSRMST_INSERT. Each one replaces the options of the previous one.
func AppendInsert(dst []byte, options uint32) []byte {
	dst = append(dst, Escape)
	dst = append(dst, signature...)
	return binary.LittleEndian.AppendUint32(dst, options)
}

var errNoExtension = errors.New("the driver does not have com0com's extension")

// ParseCaps parses what the driver returned for AppendCaps.
func ParseCaps(reply []byte) (options uint32, err error) {
	if len(reply) < capsSize || string(reply[:len(signature)]) != signature {
		return 0, errNoExtension
	}
	return binary.LittleEndian.Uint32(reply[len(signature):]), nil
}

// AppendModemControl appends the extended SET_MODEM_CONTROL: only the outputs in mask change.
func AppendModemControl(dst []byte, value, mask Output) []byte {
	dst = appendWords(dst, uint32(value), uint32(mask))
	return append(dst, signature...)
}
