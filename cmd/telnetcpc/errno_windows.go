package main

import "golang.org/x/sys/windows"

// What this system answers when an address cannot be listened on. The names that package syscall has for them here are
// never returned.
const (
	errAddressInUse  = windows.WSAEADDRINUSE
	errNoSuchAddress = windows.WSAEADDRNOTAVAIL
	errDenied        = windows.WSAEACCES
)

// whyDenied is why errDenied comes, and the way out.
const whyDenied = "another program has it for itself, or Windows has set it aside: netsh interface ipv4 show excludedportrange tcp"
