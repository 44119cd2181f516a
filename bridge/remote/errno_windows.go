package remote

import "golang.org/x/sys/windows"

// Errors of socket calls on this system. The constants of the same names in package syscall are never returned here.
const (
	errRefused         = windows.WSAECONNREFUSED
	errReset           = windows.WSAECONNRESET
	errAborted         = windows.WSAECONNABORTED // also after a reset, if bytes of ours were in flight
	errHostUnreachable = windows.WSAEHOSTUNREACH
	errNetUnreachable  = windows.WSAENETUNREACH
)
