//go:build !linux

package serialport

import "runtime"

// portsHint is how serial ports are named.
const portsHint = "macOS has /dev/cu.usb..., FreeBSD /dev/cuaU0, Windows COM3"

// namesAreFiles reports whether a port's name is a file that os.Stat can find.
const namesAreFiles = runtime.GOOS != "windows"

func openTTY(path string) (tty, error) { return openLibraryTTY(path) }

// holderOf is not known on these systems.
func holderOf(string) string { return "" }

func permissionHint(string) string { return "give this user read and write permission for it" }
