package uart

import "time"

// DeviceEvents is how many events a Device queues for Next. Further ones are merged into the last of their kind.
const DeviceEvents = 256

// Device is a UART as an access server sees it. A client's session opens it and closes it.
//
// Next has one caller. Write and Apply share one caller. Purge, Modem, Unsent and Close may be called from any goroutine at
// any time; Modem and Unsent never block.
type Device interface {
	// Next waits for the next thing from the line: bytes (Kind is KindData) or one Event, KindModem or KindLine, in the
	// order in which the UART saw them. Parity and framing errors come before the byte that they belong to. With a break,
	// p holds the NUL as which it was received, if there was one. LineTEMT means that the transmitter has become empty. The
	// bytes belong to the device and are valid until the following call. After Close, Next returns what was received
	// before, as far as the device still has it, then ErrClosed.
	Next() (p []byte, e Event, err error)

	// Write puts bytes into the transmit buffer and blocks while it is full: that is the back pressure. n counts what was
	// taken; a transmit purge counts as taking all of p. It does not keep p.
	Write(p []byte) (n int, err error)

	// Apply changes what e sets of Coding, Flow and Control, in one step if the UART can, and returns everything that is
	// then in force, whether or not it is what was requested. A zero event only queries. Apply does not wait for the
	// transmit buffer.
	Apply(e Event) (inForce Event, err error)

	// Purge discards received bytes that Next has not returned, bytes that are not sent yet, or both.
	Purge(p Purge) error

	// Modem is the current state of the lines that the machine at the other end drives.
	Modem() ModemState

	// Unsent is how long the transmitter will still need at least; 0: the last bit has left (TEMT). While flow control or a
	// break holds the transmitter it does not shrink. Ask again after that time.
	Unsent() time.Duration

	// Close turns DTR and RTS off and releases the UART: every blocked call returns. Bytes that are not sent are lost; a
	// caller that wants them sent waits for Unsent first. Idempotent.
	Close() error
}
