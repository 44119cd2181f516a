package serialport

import (
	"math"

	"telnetcpc/bridge/uart"
)

// tty is a serial port of the operating system, as a device needs it. read has one caller; write and apply share one. The
// other methods may be called from any goroutine at any time, and close once.
type tty interface {
	// traits is constant.
	traits() traits

	// read waits for bytes. It returns 0 without an error if wake was called, and may do so at other times.
	read(p []byte) (n int, err error)
	wake()

	// write blocks until p is taken. stop makes it return early, with errStopped or as if all were written; bytes that the
	// system already has may be lost by that. After resume it works again.
	write(p []byte) (n int, err error)
	stop()
	resume()

	// apply changes what e sets of Coding, Flow and Control; before has the current settings. What the port cannot do stays
	// as it was. An error means that the port is lost.
	apply(e, before uart.Event) (inForce uart.Event, err error)

	// modem returns the present state. ok is false if there are no modem lines, or the port is lost.
	modem() (m uart.ModemState, ok bool)

	// counts returns the driver's counters. ok is false if it has none.
	counts() (c counts, ok bool)

	// queued returns how many bytes have certainly not left yet, and how many more the hardware may still hold.
	queued() (n, more int)

	// flush drops what the system holds.
	flush(p uart.Purge) error

	// close lowers DTR and RTS and drops what was not sent. A blocked read or write returns.
	close() error
}

// traits is what a tty can and cannot do.
type traits struct {
	parmrk  bool   // the data has errors and breaks in it, coded as PARMRK does (termios(3))
	missing string // what the port cannot carry, as text; may be empty
}

// counts are the counters of struct serial_icounter_struct (linux/serial.h) that are of use here. They start at any value,
// only grow, and wrap.
type counts struct {
	cts, dsr, ri, dcd           int32
	frame, parity, brk, overrun int32
	bufOverrun                  int32
}

// unknownQueue is for queued if nothing is known of the hardware.
const unknownQueue = math.MaxInt32

// noLines is what a port without modem lines reports, as ser2net does: no line keeps a client from sending.
const noLines = uart.CTS | uart.DSR | uart.DCD
