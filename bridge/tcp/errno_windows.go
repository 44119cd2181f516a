package tcp

import "golang.org/x/sys/windows"

// Errors of Listen, for errors.Is. Windows never returns the constants that package syscall has for them.
const (
	ErrAddressInUse  = windows.WSAEADDRINUSE
	ErrNoSuchAddress = windows.WSAEADDRNOTAVAIL // not an address of this machine
	ErrDenied        = windows.WSAEACCES
)

// WhyDenied is the usual reason for ErrDenied on this system, with a command that shows it.
const WhyDenied = "another program has it for itself, or Windows has reserved it: netsh interface ipv4 show excludedportrange tcp"
