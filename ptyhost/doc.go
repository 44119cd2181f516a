// Package ptyhost makes serial ports out of pseudo-terminals, on every Unix and without privileges. The application
// opens a symbolic link to the pty's slave; this package reads and writes the master (package terminal) and turns what
// the application does into the ordered stream of uart.Port.
//
// A pty carries bytes, the baud rate, the stop bits, the choice of flow control, and open and close. It has no modem
// lines and no break, forces 8 data bits without parity, reports no purge, and tcdrain does not wait; see Fidelity.
// Unlike with a UART, the kernel obeys XON/XOFF on this side too: with IXON set, a ^S from the device stops the
// application's writes here, and the application does not read it.
//
// The package must not know that there is a network, nor its callers: of this module it imports uart, termios and
// packages below ptyhost.
package ptyhost
