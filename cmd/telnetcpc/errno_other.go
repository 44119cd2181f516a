//go:build !windows

package main

import "syscall"

// What this system answers when an address cannot be listened on.
const (
	errAddressInUse  = syscall.EADDRINUSE
	errNoSuchAddress = syscall.EADDRNOTAVAIL
	errDenied        = syscall.EACCES
)

// whyDenied is why errDenied comes.
const whyDenied = "ports below 1024 are root's"
