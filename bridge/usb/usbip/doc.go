// Package usbip is the device side of the usbip protocol: it emulates one USB device on a byte stream, for a host whose
// controller is at the other end. It reads transfers, answers the standard requests of endpoint 0 from a Table, and
// passes all others to a Device, which answers at once or later. The protocol is that of the Linux kernel's document
// "USB/IP protocol", Documentation/usb/usbip_protocol.rst; the standard requests are chapter 9 of USB 2.0.
//
// The package must not know the operating system, serial ports, or how the stream was made. The other half of the
// protocol, listing and importing devices over TCP, is not implemented: the stream begins after a successful import.
// Package ftdi calls it.
package usbip
