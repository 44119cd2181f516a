//go:build !windows

package remote

import "syscall"

// Errors of socket calls on this system.
const (
	errRefused         = syscall.ECONNREFUSED
	errReset           = syscall.ECONNRESET
	errAborted         = syscall.ECONNABORTED
	errHostUnreachable = syscall.EHOSTUNREACH
	errNetUnreachable  = syscall.ENETUNREACH
)
