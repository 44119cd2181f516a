package tcp

import "golang.org/x/sys/windows"

// What Listen's error is, for errors.Is. Windows never returns the names that package syscall has for them.
const (
	ErrAddressInUse  = windows.WSAEADDRINUSE
	ErrNoSuchAddress = windows.WSAEADDRNOTAVAIL // not an address of this machine
	ErrDenied        = windows.WSAEACCES
)

// WhyDenied is the usual reason for ErrDenied on this system, with the way out.
const WhyDenied = "another program has it for itself, or Windows has reserved it: netsh interface ipv4 show excludedportrange tcp"
