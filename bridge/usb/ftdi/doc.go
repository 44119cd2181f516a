// Package ftdi plays a USB serial adapter of the FT4232H's type: a uart.Port on one side, the device of a usbip stream
// on the other. Whatever speaks usbip and has a driver for that adapter, as Linux has ftdi_sio, makes a real serial
// port of it. The package knows neither how the stream is attached nor to what: see kerneltty for Linux.
//
// What the chip can say of an application is what the driver tells it by requests: the file
// drivers/usb/serial/ftdi_sio.c of Linux is the driver that this was made for, drivers/usb/serial/ftdi_sio.h has the
// words of the requests.
package ftdi
