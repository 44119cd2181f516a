// Package kerneltty makes real kernel ttys on Linux without a kernel module of our own. The stock driver vhci_hcd (the
// receiving half of USB/IP) has USB devices whose wire is a socket; this package plays a USB serial adapter on that
// socket, and the stock driver ftdi_sio makes a tty of it:
//
//	application -- /dev/ttyV0 -> /dev/ttyUSB1 -- ftdi_sio -- vhci_hcd == socket == ftdi.Chip -- uart.Port
//
// So the application has everything that a tty is: line disciplines, TIOCMIWAIT, TIOCGICOUNT, a tcdrain that waits, a
// name in /sys/class/tty. Not carried are 6 data bits, which the driver confuses, and tcflush, which it does not pass on.
// It needs root and the two modules; Check says what is missing. When the agent dies the kernel unplugs the device.
//
// vhci_hcd lets no machine sleep that has a device of it. So the adapter is unplugged before the sleep, when logind tells
// of it, and plugged in again after.
//
// A process that makes such a port must not open its tty itself: if it were killed meanwhile, it would wait in the kernel
// for its own answer and stay for ever.
//
// The driver may let go of the adapter, udev may give the node to others: the kernel and udev say so, and the port looks.
// See bound_linux.go.
//
// This package knows vhci, sysfs and udev. The chip and the USB/IP device side, in packages of their own below, know none of
// them, nor does logind beside it. None knows that there is a network.
package kerneltty
