// Package uart is the ground that everything else stands on: what an application does to a serial port, what a
// UART reports, and the contract of a port host (Port, Host). It holds value types and interfaces; it performs no
// I/O and imports nothing else of this module, so that a port host never learns that there is a network, and the
// protocol never learns how a port is made.
//
// In every value type a zero field means "not said": an application that sets only RTS says nothing about DTR.
package uart
