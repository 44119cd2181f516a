package uart

import "time"

// DeviceEvents is how many events a Device queues for Next. Further ones are merged into the last of their kind.
const DeviceEvents = 256

// Device is the far UART, driven by an access server. Each client session opens it at its start and closes it at its
// end.
//
// Next has one caller. Write and Apply share one caller. Purge, Modem, Unsent and Close may be called from any goroutine at
// any time; Modem and Unsent never block.
type Device interface {
	// Next waits for the next input from the line: bytes (Kind is KindData) or one Event, KindModem or KindLine, in the
	// order in which the UART saw them. Parity and framing errors come before the byte that they belong to. With a
	// break, p holds the NUL that the UART received for it, if any. LineTEMT means that the transmitter has become
	// empty. The bytes belong to the device and are valid until the following call. After Close, Next returns what the
	// device has received and still holds, then ErrClosed.
	Next() (p []byte, e Event, err error)

	// Write puts bytes into the transmit buffer and blocks while it is full: that is the back pressure. n counts the
	// bytes accepted; bytes that a transmit purge discards count as accepted. It does not keep p.
	Write(p []byte) (n int, err error)

	// Apply changes the fields of Coding, Flow and Control that e sets, in one step if the UART can, and returns all
	// settings in effect afterwards, which may differ from those requested. A zero event only queries. Apply does not
	// wait for the transmit buffer.
	Apply(e Event) (current Event, err error)

	// Purge discards received bytes that Next has not returned, bytes that are not sent yet, or both.
	Purge(p Purge) error

	// Modem returns the current state of the lines that the connected machine drives.
	Modem() ModemState

	// Unsent returns the minimum time that the transmitter still needs; 0: the last bit has left (TEMT). It does not
	// shrink while flow control or a break holds the transmitter. Ask again after that time.
	Unsent() time.Duration

	// Close turns DTR and RTS off and releases the UART: every blocked call returns. Bytes that are not sent are lost; a
	// caller that wants them sent waits for Unsent first. Idempotent.
	Close() error
}
