//go:build !windows

package tcp

import "syscall"

// Errors of Listen, for errors.Is.
const (
	ErrAddressInUse  = syscall.EADDRINUSE
	ErrNoSuchAddress = syscall.EADDRNOTAVAIL // not an address of this machine
	ErrDenied        = syscall.EACCES
)

// WhyDenied is the usual reason for ErrDenied on this system.
const WhyDenied = "ports below 1024 are root's"
