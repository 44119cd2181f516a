// Package ptyhost makes serial ports out of pseudo-terminals: everywhere on Unix, without privileges. The application
// opens a symbolic link to the pty's slave; this package has the master, and turns what the application does into the
// ordered stream of uart.Port.
//
// A pty carries bytes, the baud rate, the stop bits, the choice of flow control, and open and close. It has no modem
// lines and no break, forces 8 data bits without parity, tells nobody of a purge and makes nobody wait for a drain;
// Fidelity says so. One thing of it is not as on a UART: the kernel obeys XON/XOFF on this side too. With IXON set a ^S
// that the device sends stops the application's writes here, and the application does not read it.
//
// The package must not know that there is a network, nor who calls it: it imports uart and nothing else of ours.
package ptyhost
