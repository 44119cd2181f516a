//go:build !linux

package serialport

import "runtime"

// whereToLook tells how to find the right name.
const whereToLook = "macOS has /dev/cu.usb..., FreeBSD /dev/cuaU0, Windows COM3"

// namesAreFiles is false where a port is no file that one could look at.
const namesAreFiles = runtime.GOOS != "windows"

func openTTY(path string) (tty, error) { return openPackaged(path) }

// holder would name the program that has the port.
func holder(string) string { return "" }

// whoMay is the way out where the right is missing.
func whoMay(string) string { return "give this user the right to read and write it" }
