// Package remote turns a URL into a session with an access server: it dials, negotiates and returns a uart.Session that is
// up. It knows sockets, TLS and which protocol a URL means; it knows no port and keeps nothing alive: whoever holds a
// session decides when to dial again.
package remote

import "errors"

// ErrNotAccessServer says that the peer does not speak RFC 2217, or refuses it.
var ErrNotAccessServer = errors.New("not an RFC 2217 access server")
