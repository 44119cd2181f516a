// Package telnet is the Telnet protocol as bytes: how data, commands and subnegotiations are encoded (RFC 854, RFC 855), and
// how options are negotiated without loops (RFC 1143).
//
// A Telnet connection carries data bytes and commands in one stream. A command begins with IAC, the byte 255; a data byte 255
// is sent twice. WILL, WONT, DO and DONT negotiate an option, for each side on its own: WILL and DO switch it on. SB and SE
// enclose a value of an option, the subnegotiation.
//
// The Append functions encode, a Decoder decodes, Options negotiates. The package does no I/O and reads no clock: bytes go in
// and bytes come out, so a test can cut them anywhere. It knows no socket and no serial port; package rfc2217 builds
// COM-PORT-OPTION on it.
package telnet
