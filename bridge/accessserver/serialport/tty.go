package serialport

import (
	"math"

	"telnetcpc/bridge/uart"
)

// tty is a serial port of the operating system: what a device needs to be a Device. read has one caller, write
// and apply share one; the others may be called by anyone at any time, and close once.
type tty interface {
	// traits is constant.
	traits() traits

	// read waits for bytes; 0 without an error: wake was called, or the time for it was.
	read(p []byte) (n int, err error)
	wake()

	// write blocks until p is taken. stop makes it return early, with errStopped or as if it had done all; what it
	// had given to the system may be lost by that. resume lets it work again.
	write(p []byte) (n int, err error)
	stop()
	resume()

	// apply changes what e says of Coding, Flow and Control over what was in force. What cannot be done stays as it
	// was; an error means that the port is lost.
	apply(e, before uart.Event) (inForce uart.Event, err error)

	// modem is the present state; false: there are no such lines, or the port is lost.
	modem() (m uart.ModemState, ok bool)

	// counts is what the driver has counted since it was loaded; false: it does not count.
	counts() (c counts, ok bool)

	// queued says how many bytes have certainly not left yet, and how many more may still be in the hardware.
	queued() (n, more int)

	// flush drops what the system holds.
	flush(p uart.Purge) error

	// close lowers DTR and RTS and drops what was not sent. read and write return.
	close() error
}

// traits is what a tty can and cannot do.
type traits struct {
	marks   bool   // errors and breaks come in the data, as PARMRK says (termios(3))
	missing string // what it cannot carry, for a person; empty: nothing
}

// counts are those of struct serial_icounter_struct of linux/serial.h that say something here. They only grow, and
// wrap.
type counts struct {
	cts, dsr, ri, dcd           int32
	frame, parity, brk, overrun int32
	bufOverrun                  int32
}

// anyMore is for queued: nothing is known of the hardware.
const anyMore = math.MaxInt32

// noLines is what a port without modem lines shows, as ser2net has it: nothing holds a client back.
const noLines = uart.CTS | uart.DSR | uart.DCD
