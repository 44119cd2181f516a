package wincom

import (
	"encoding/binary"
	"fmt"
)

// Ioctl is the control code of a request to a serial driver: FILE_DEVICE_SERIAL_PORT, METHOD_BUFFERED, FILE_ANY_ACCESS
// (ntddser.h). All integers in its buffers are little endian.
type Ioctl uint32

// The requests that a port makes, with their structures and field sizes in bytes.
const (
	SetBaudRate     Ioctl = 0x1B0004 // SERIAL_BAUD_RATE (4)
	SetQueueSize    Ioctl = 0x1B0008 // SERIAL_QUEUE_SIZE: in (4), out (4)
	SetLineControl  Ioctl = 0x1B000C // SERIAL_LINE_CONTROL: stop bits (1), parity (1), word length (1)
	SetBreakOn      Ioctl = 0x1B0010
	SetBreakOff     Ioctl = 0x1B0014
	SetTimeouts     Ioctl = 0x1B001C // SERIAL_TIMEOUTS: read interval, read multiplier, read constant, write multiplier, write constant (4 each)
	Purge           Ioctl = 0x1B004C // flags (4)
	SetChars        Ioctl = 0x1B005C // SERIAL_CHARS: EOF, error, break, event, XON, XOFF (1 each)
	SetHandFlow     Ioctl = 0x1B0064 // SERIAL_HANDFLOW: control handshake, flow replace, XON limit, XOFF limit (4 each)
	GetModemStatus  Ioctl = 0x1B0068 // out: the modem status register (4)
	GetCommStatus   Ioctl = 0x1B006C // out, SERIAL_STATUS: errors, hold reasons, bytes in, bytes out (4 each), EOF, immediate (1 each)
	LsrMstInsert    Ioctl = 0x1B007C // see request.go
	SetModemControl Ioctl = 0x1B0098 // see request.go

	// Only for plain ports.
	SetDTR   Ioctl = 0x1B0024
	ClearDTR Ioctl = 0x1B0028
	SetRTS   Ioctl = 0x1B0030
	ClearRTS Ioctl = 0x1B0034
)

var ioctlNames = map[Ioctl]string{
	SetBaudRate: "SET_BAUD_RATE", SetQueueSize: "SET_QUEUE_SIZE", SetLineControl: "SET_LINE_CONTROL",
	SetBreakOn: "SET_BREAK_ON", SetBreakOff: "SET_BREAK_OFF", SetTimeouts: "SET_TIMEOUTS", Purge: "PURGE",
	SetChars: "SET_CHARS", SetHandFlow: "SET_HANDFLOW", GetModemStatus: "GET_MODEMSTATUS",
	SetDTR: "SET_DTR", ClearDTR: "CLR_DTR", SetRTS: "SET_RTS", ClearRTS: "CLR_RTS", GetCommStatus: "GET_COMMSTATUS", LsrMstInsert: "LSRMST_INSERT", SetModemControl: "SET_MODEM_CONTROL",
}

// String returns the request's name in ntddser.h, without IOCTL_SERIAL_.
func (c Ioctl) String() string {
	if name, ok := ioctlNames[c]; ok {
		return name
	}
	return fmt.Sprintf("%#x", uint32(c))
}

// Flags of Purge.
const (
	PurgeTxAbort = 1
	PurgeRxAbort = 2
	PurgeTxClear = 4
	PurgeRxClear = 8
)

// Errors of a SERIAL_STATUS.
const (
	ErrorBreak        = 1
	ErrorFraming      = 2
	ErrorOverrun      = 4
	ErrorQueueOverrun = 8
	ErrorParity       = 16

	errorLost = ErrorOverrun | ErrorQueueOverrun // received bytes, or records, were lost
)

// serialStatusSize is the size of a SERIAL_STATUS, with its padding.
const serialStatusSize = 20

// appendWords appends 32-bit integers.
func appendWords(dst []byte, words ...uint32) []byte {
	for _, w := range words {
		dst = binary.LittleEndian.AppendUint32(dst, w)
	}
	return dst
}
