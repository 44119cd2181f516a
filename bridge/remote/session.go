// Package remote turns a URL into a session with an access server: it dials, with TLS if the URL asks for it, negotiates
// and returns a uart.Session that is up. It explains failures in one line that says what to do.
//
// It knows no port, and it does not reconnect: the bridge, which calls Dial, decides when to dial again. Package agent
// makes a Remote for each port; package probe uses Connect.
package remote

import "errors"

// ErrNotAccessServer means that the peer does not speak RFC 2217, or refuses it.
var ErrNotAccessServer = errors.New("not an RFC 2217 access server")
