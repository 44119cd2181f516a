// Package usbip is the device side of the usbip protocol: it plays one USB device on a byte stream, for a host whose
// controller is at the other end. It reads transfers, answers the standard requests of endpoint 0 from a table, and
// gives the rest to a Device, which answers now or later. The protocol is that of the Linux kernel's document
// "USB/IP protocol", Documentation/usb/usbip_protocol.rst; the standard requests are chapter 9 of USB 2.0.
//
// The package knows no operating system, not how the stream came to be, and no serial port. The protocol's other half,
// listing and importing devices over TCP, is not here: the stream begins where an import has succeeded.
package usbip
