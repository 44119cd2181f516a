// Package uart defines the vocabulary of the whole program: values for what an application does to a serial port and
// what a UART reports, and the interfaces between its parts: Port and Host, which a port host implements; Session, one
// connection to a remote; and Device, which an access server serves. It performs no I/O and imports nothing else of
// this module, so a port host cannot know that there is a network, and the protocol cannot know how a port is created.
// Every package may import it.
//
// In all value types a zero field means unset: an application that sets only RTS leaves DTR unset.
//
// # Glossary
//
//	application    the program that has the port open and takes it for a serial port
//	port           the virtual serial port that the application opens (Port)
//	host           what creates ports of one kind: pty, kernel tty, com0com, run (Host)
//	device         the machine at the far end of the serial line: a meter, a modem, a switch's console
//	far UART       the UART of the access server that the device is connected to (Device)
//	access server  the box, or the program, that serves serial ports over TCP with RFC 2217
//	remote         one port of an access server, as a URL names it; sessions are connections to it
//	session        one connection to the remote, from negotiation to close (Session)
//	bridge         what connects one port to one remote, with one session after another
//	link           the bridge's current session, or the wait for one
//	up, down       from the application to the device; from the device to the application
//	visit          from one open of a port to its last close; a bridge numbers them by the closes before them
//	line coding    baud rate, data bits, parity and stop bits: 9600 8N1 (Coding)
//	flow control   what makes a sender pause: XON/XOFF, RTS/CTS, DTR, DSR or DCD, for each direction (Flow)
//	control lines  DTR, RTS and break, which the application drives (Control)
//	modem state    CTS, DSR, DCD and RI, which the device drives (ModemState)
//	line state     what a UART reports about its line: parity, framing and overrun errors, a received break, TEMT (LineState)
//	TEMT           the transmitter is empty: the last bit has left the UART
//	drain          to wait until everything written has left the far UART: tcdrain, FlushFileBuffers
//	purge          to discard bytes that are not read, or not sent, yet: tcflush, PurgeComm (Purge)
//	hold           to keep what is written while there is no session, for the next one
//	suspend        the access server asks for no more data (FLOWCONTROL-SUSPEND), until it resumes
//	mark           Telnet TIMING-MARK (RFC 860): the peer answers it once it has processed everything before it
//	greeting       what an access server sends before it serves: a banner, not data from the device
//	fidelity       the set of features that a host or a remote carries (Fidelity)
package uart
