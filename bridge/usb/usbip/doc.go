// Package usbip is the device side of the usbip protocol: it emulates one USB device on a byte stream, for a host whose
// controller is at the other end. It reads transfers, answers the standard requests of endpoint 0 from a Table, and passes the
// others to a Device, which answers now or later. The protocol is that of the Linux kernel's document "USB/IP protocol",
// Documentation/usb/usbip_protocol.rst; the standard requests are chapter 9 of USB 2.0.
//
// The package knows no operating system, no serial port, and not how the stream was made. The other half of the protocol,
// listing and importing devices over TCP, is not here: the stream begins after a successful import. Its caller is ftdi.
package usbip
