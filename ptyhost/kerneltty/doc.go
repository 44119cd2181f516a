// Package kerneltty makes real kernel ttys on Linux without a kernel module of our own. The stock driver vhci_hcd (the
// receiving half of USB/IP) has USB devices whose wire is a socket; this package emulates a USB serial adapter on that
// socket, and the stock driver ftdi_sio makes a tty of it:
//
//	application -- /dev/ttyV0 -> /dev/ttyUSB1 -- ftdi_sio -- vhci_hcd == socket == ftdi.Chip -- uart.Port
//
// So the application has everything that a tty has: line disciplines, TIOCMIWAIT, TIOCGICOUNT, a tcdrain that waits, a
// name in /sys/class/tty. Not carried are 6 data bits, which the driver mistakes for others, and tcflush, which it does not
// pass on. The host needs root and the two modules; Check reports what is missing. When the agent dies, the kernel unplugs the
// device.
//
// vhci_hcd does not let the machine sleep while it has a device. So the adapter is unplugged before the sleep, which logind
// announces, and plugged in again after it.
//
// A process that makes such a port must not open its tty itself: if it were killed meanwhile, it would wait in the kernel
// for its own answer, forever.
//
// The driver may release the adapter, and udev may give the node to another owner: both send events, and the port checks. See
// bound_linux.go.
//
// This package knows vhci, sysfs and udev. The packages of the chip and of USB/IP's device side (bridge/usb) and logind know
// none of them. None knows that there is a network.
package kerneltty
