package usbip

import (
	"encoding/binary"
	"fmt"
)

// Setup is the request of a control transfer: USB 2.0, 9.3.
type Setup struct {
	Type    uint8  // bmRequestType: direction, type, recipient
	Request uint8  // bRequest
	Value   uint16 // wValue
	Index   uint16 // wIndex
	Length  uint16 // wLength
}

// The parts of bmRequestType: USB 2.0, table 9-2.
const (
	typeIn             = 0x80 // device to host
	typeMask           = 0x60
	typeStandard       = 0x00
	recipientMask      = 0x1f
	recipientDevice    = 0
	recipientInterface = 1
	recipientEndpoint  = 2
)

// parseSetup parses the eight bytes of a setup packet, whose numbers are little-endian.
func parseSetup(b []byte) Setup {
	return Setup{
		Type: b[0], Request: b[1],
		Value: binary.LittleEndian.Uint16(b[2:]), Index: binary.LittleEndian.Uint16(b[4:]),
		Length: binary.LittleEndian.Uint16(b[6:]),
	}
}

// In reports whether the request asks the device for data.
func (s Setup) In() bool { return s.Type&typeIn != 0 }

// String formats the request for a log: type, request, value and index in hex, and the length.
func (s Setup) String() string {
	return fmt.Sprintf("%02x %02x value %04x index %04x length %d", s.Type, s.Request, s.Value, s.Index, s.Length)
}
