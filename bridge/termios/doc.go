// Package termios translates between package uart's values and a Unix tty's: line coding and flow control in struct termios,
// modem and control lines in the bits of TIOCMGET, purges in the queues of tcflush. It makes no system call and
// allocates nothing, so that a port may call it for each read.
//
// It serves both ends: the port hosts, which report what an application asked for, and the access server's serial port,
// which reports the settings in effect after a client's request. Two rules hold for both:
//
//   - CRTSCTS wins over IXON and IXOFF. RTS/CTS is on or off in both directions at once, so there is no mix of the two.
//   - CSTOPB is 2 stop bits. termios has no 1.5: with 5 data bits most UARTs send 1.5 for CSTOPB (the 8250 family), others 2.
//     So 1.5 is reported only after a request for 1.5 with 5 data bits (CodingAfter); an application that sets CSTOPB
//     asked for 2.
//
// The package must not know which program has the tty open. It imports uart alone.
package termios
