// Package ftdi emulates a USB serial adapter with an FTDI FT4232H: a uart.Port on one side, the device of a usbip stream on the
// other. Any system that speaks usbip and has a driver for that adapter (ftdi_sio on Linux) makes a real serial port of
// it. The package does not know how the stream is attached, nor to which system: see kerneltty for Linux.
//
// The chip sees only the driver's requests, and infers from them what the application does. It was written for Linux's
// driver, drivers/usb/serial/ftdi_sio.c; drivers/usb/serial/ftdi_sio.h defines the requests.
package ftdi
