// Package telnet is the network virtual terminal of RFC 854: how bytes, commands and subnegotiations look on the wire,
// and how options are negotiated (RFC 855, RFC 1143). It does no I/O and knows no time, no socket and no serial port:
// bytes go in, bytes come out, so that everything can be tested by cutting the bytes anywhere.
package telnet
