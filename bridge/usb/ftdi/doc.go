// Package ftdi emulates a USB serial adapter with an FTDI FT4232H: a uart.Port on one side, the device of a usbip stream on the
// other. Any system that speaks usbip and has a driver for that adapter, as Linux has ftdi_sio, makes a real serial port of
// it. The package does not know how the stream is attached, nor to which system: see kerneltty for Linux.
//
// Of the application, the chip knows what the driver's requests show. It was written for Linux's driver,
// drivers/usb/serial/ftdi_sio.c; drivers/usb/serial/ftdi_sio.h defines the requests.
package ftdi
