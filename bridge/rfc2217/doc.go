// Package rfc2217 is the Telnet COM port control option, RFC 2217: the settings, control lines and states of a serial port
// in the same TCP connection as its data.
//
// A session begins as Telnet: both sides agree on COM-PORT-OPTION (Opening). From then on data bytes are the serial
// port's, and commands are subnegotiations between them (Command), so a change of the line coding takes effect at its
// place in the data. The client sends settings and purges; the access server answers each with the current value, and
// reports modem and line states unasked. TIMING-MARK (RFC 860) shows the client what the server has received: the server
// answers it after everything that was sent before it.
//
// Client is our side of a session: package remote hands it a connection, package bridge uses it as a uart.Session. Server
// is the access server's side, for package accessserver. Both are built on the same engine (wire.go): a decoder for the
// reader, and one sender for everything that is written. Neither knows which side dialed, nor which UART or port it
// serves.
//
// Servers deviate from the RFC. Common deviations are handled silently; those that cannot be detected safely are Quirks,
// chosen by the user. The recordings in testdata/trace show what real servers do.
package rfc2217
