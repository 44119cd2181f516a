package remote

import "golang.org/x/sys/windows"

// What this system answers to calls on a socket. The names that package syscall has for them here are never returned.
const (
	errRefused         = windows.WSAECONNREFUSED
	errReset           = windows.WSAECONNRESET
	errAborted         = windows.WSAECONNABORTED // reset as well, where bytes of ours were under way
	errHostUnreachable = windows.WSAEHOSTUNREACH
	errNetUnreachable  = windows.WSAENETUNREACH
)
