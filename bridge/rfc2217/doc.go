// Package rfc2217 is the Telnet COM port control option, RFC 2217: the settings, control lines and states of a serial port
// in the same TCP connection as its data.
//
// A session begins as Telnet: both sides agree on COM-PORT-OPTION (Opening). From then on data bytes are the serial port's,
// and commands are subnegotiations between them (Command), so a change of the line coding takes effect at its place in the
// data. The client sends settings and purges; the access server answers each with the value in force and reports modem and
// line states by itself. TIMING-MARK (RFC 860) tells the client what the server has taken: its answer comes after everything
// written before.
//
// Client is our side of a session: package remote hands it a connection, package bridge uses it as a uart.Session. Server is
// the access server's side, for package accessserver. Both are built on the same engine (wire.go): a decoder for the reader,
// and one exit for everything that is written. Neither knows who dialed, nor which UART or port is behind it.
//
// Servers deviate from the RFC. What every server does is handled silently; deviations that cannot be detected are Quirks,
// chosen by the user. The recordings in testdata/trace show what real servers do.
package rfc2217
