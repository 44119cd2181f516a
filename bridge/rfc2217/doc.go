// Package rfc2217 is COM-PORT-OPTION: a serial port's settings, lines and states over Telnet (RFC 2217). Client is
// our side of a session, Server the access server's; both stand on one engine (wire.go). It gets a connection and does
// not know who dialed it, nor which port or UART it speaks for.
package rfc2217
