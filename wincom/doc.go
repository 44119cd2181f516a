// Package wincom makes ports of com0com pairs: on Windows an application opens COM9, and the agent holds the other end of
// the pair, CNCB0, where the driver tells in the stream of bytes what the application does to its end. The package must not
// know that there is a network: it imports uart and nothing else of ours.
//
// Rooms: decode.go and request.go speak the driver's extension of IOCTL_SERIAL_LSRMST_INSERT, ioctl.go its other calls;
// pins.go knows how the two ends are wired; device.go is the border to the operating system. On that border stands the
// port: start.go takes the device, next.go is the way of a byte up, down.go the way down, life.go knows whether the
// application is there; plain.go is for devices of other drivers. All of it is the same on every system and is tested on a Go model of the pair (wincomtest).
// What needs Windows is in files that say so. setupc.go and pair_windows.go make, list and remove pairs.
package wincom
