// Package kerneltty makes real kernel ttys on Linux without a kernel module of our own. The stock driver vhci_hcd (the
// importing half of USB/IP) attaches USB devices whose transfers go over a socket, which this code calls the wire. This
// package emulates a USB serial adapter on that socket, and the stock driver ftdi_sio makes a tty of it:
//
//	application -- /dev/ttyV0 -> /dev/ttyUSB1 -- ftdi_sio -- vhci_hcd == socket == ftdi.Chip -- uart.Port
//
// So the application gets everything that a tty has: line disciplines, TIOCMIWAIT, TIOCGICOUNT, a tcdrain that waits, a
// name in /sys/class/tty. Not carried are 6 data bits, which the driver cannot express, and tcflush, which it does not
// pass on to the adapter. The host needs root and the two modules; Check reports what is missing. When the agent dies,
// the kernel unplugs the device.
//
// vhci_hcd does not let the machine sleep while it has a device. So the adapter is unplugged before the sleep, which logind
// announces, and plugged in again after it.
//
// A process that makes such a port must not open its tty itself: if it were killed meanwhile, its exit would close the
// tty and wait in the kernel, forever, for an answer of the adapter that it emulates itself.
//
// The driver may release the adapter, and udev may change the node's owner: both send events, after which the port
// checks. See bound_linux.go.
//
// This package knows vhci, sysfs and udev. The packages of the chip and of USB/IP's device side (bridge/usb) and logind
// must not know them. None must know that there is a network.
package kerneltty
