package uart

import "time"

// DeviceEvents is how many events a Device keeps for Next. Further ones are merged into the last of their kind.
const DeviceEvents = 256

// Device is a UART as an access server sees it. One client's session opens it and closes it.
//
// Next has one caller. Write and Apply share one caller. Purge, Modem, Unsent and Close may be called by anyone at
// any time; Modem and Unsent never block.
type Device interface {
	// Next waits for the next thing from the line: bytes (Kind is KindData) or one Event, KindModem or KindLine, in
	// the order in which the UART saw them; parity and framing errors come before the byte that they belong to. With a
	// break comes, in p, the NUL as which it was received, where there was one. LineTEMT says that the transmitter has become empty. The bytes
	// belong to the device and are valid until the following call. After Close it returns what was received before,
	// as far as the device still has it, then ErrClosed.
	Next() (p []byte, e Event, err error)

	// Write puts bytes into the transmit buffer and blocks while it is full: that is the back pressure. n counts what
	// was taken; it does not keep p. A transmit purge counts as taking all of p.
	Write(p []byte) (n int, err error)

	// Apply changes what e says of Coding, Flow and Control, all in one step where the UART can, and returns all that
	// is in force then, whether or not it is what was asked for; a zero event only asks. It does not wait for the
	// transmit buffer.
	Apply(e Event) (inForce Event, err error)

	// Purge drops received bytes that Next has not returned, bytes that wait to be sent, or both.
	Purge(p Purge) error

	// Modem is the present state of the lines that the device at the other end drives.
	Modem() ModemState

	// Unsent is how long the transmitter will still need at least; 0: the last bit has left (TEMT). While flow control
	// or a break holds the transmitter it does not shrink. Ask again after that time.
	Unsent() time.Duration

	// Close lowers DTR and RTS and ends the device: every blocked call returns. Bytes that are not sent yet are lost:
	// who wants them out waits for Unsent. Idempotent.
	Close() error
}
