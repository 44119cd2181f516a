//go:build !windows

package remote

import "syscall"

// What this system answers to calls on a socket.
const (
	errRefused         = syscall.ECONNREFUSED
	errReset           = syscall.ECONNRESET
	errAborted         = syscall.ECONNABORTED
	errHostUnreachable = syscall.EHOSTUNREACH
	errNetUnreachable  = syscall.ENETUNREACH
)
