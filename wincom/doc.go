// Package wincom makes serial ports out of com0com pairs on Windows. A com0com pair is a null modem in the kernel: the
// application opens one end, COM9, and this package opens the other, CNCB0. It imports uart only and must not know that
// there is a network; its caller is cmd/telnetcpc, which hands its Host to package agent.
//
// # How a pair becomes a port
//
// A plain null modem would pass the application's bytes and nothing about its settings. com0com's driver passes more if it
// is asked to: with its extension of IOCTL_SERIAL_LSRMST_INSERT it inserts records into the bytes that CNCB0 reads, each an
// Escape byte, a code and a payload (decode.go). A data byte that equals Escape arrives as Escape and 00. Records and bytes
// share one queue, so every change arrives exactly where the application made it between its bytes.
//
// Passed in the stream:
//
//	baud rate, data bits, parity, stop bits    one record each for the baud rate and for the rest, and only for a change
//	DTR, RTS, open and close                   as changes of CNCB0's modem inputs: CTS, DSR, and DCD if it is wired to ROPEN
//	break                                      its begin and, since com0com 2.2, its end
//
// Not passed: the choice of flow control, purges and drains. In the other direction the application sees CTS, DSR, DCD and
// RI if the pair's pins are wired for it (pins.go), and a break; it cannot be given a parity, framing or overrun error.
// Writes block once the reader's queue is full; that is the back pressure in both directions.
//
// A record that finds the queue full is lost. So Next asks the driver for the current state whenever the queue may have
// been full, and once the stream has been silent for a second (resync in next.go). While nobody calls Next, a goroutine
// polls CNCB0's modem inputs, so that a close is announced at once although its record is still queued behind bytes
// (presence.go).
//
// On a device of another driver nothing of this works; with --line it is used as the plain null modem it is (plain.go).
//
// # Files
//
// decode.go and request.go are the driver's extension, ioctl.go the rest of its requests, pins.go the wiring of the two
// ends. device.go is the border to the operating system. On top of it, start.go takes the device into use, next.go carries
// bytes up, down.go carries them down. All of that builds and is tested on every system, on a model of a pair in package
// wincomtest; what needs Windows is in files named _windows.go. setupc.go and pair_windows.go make, list and remove pairs
// with com0com's setupc.exe; notes.go and facts_windows.go are what doctor reports.
//
// # Sources
//
// The requests and structures are those of ntddser.h in the Windows SDK. The extension is com0com's own; what is known
// about it here was read in the sources of com0com and hub4com and measured on com0com's 3.0.0.0 driver (November 2026).
// Both are GPL: nothing is copied from them.
package wincom
