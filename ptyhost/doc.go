// Package ptyhost makes serial ports out of pseudo-terminals: everywhere on Unix, without privileges. The application
// opens a symbolic link to the pty's slave; this package has the master, and turns what the application does into the
// ordered stream of uart.Port.
//
// A pty carries bytes, the baud rate, the stop bits, the choice of flow control, and open and close. It has no modem
// lines and no break, forces 8 data bits without parity, tells nobody of a purge and makes nobody wait for a drain;
// Fidelity says so. Two things of it are not as on a UART:
//
//   - XON/XOFF is obeyed by the kernel on this side too: with IXON set a ^S that the device sends stops the
//     application's writes here, and the application does not read it.
//   - On Linux, all programs that have a port open may see a write or a read fail with EIO in the instant (well under a
//     microsecond) in which another program, or this package, opens it: the kernel marks a pty's slave as broken while
//     it is being opened.
//
// The package must not know that there is a network, nor who calls it: it imports uart and nothing else of ours.
package ptyhost
