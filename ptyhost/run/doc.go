// Package run makes serial ports for the programs that it starts itself: on Linux, without privileges, with everything
// that a UART has.
//
// A port is a pty, whose bytes go their ordinary way. What a pty cannot do is done here: the program runs under a
// seccomp filter that hands its serial ioctls, and its opens, to this process (seccomp_unotify(2)), which answers them.
// The program stands still in its call meanwhile, so the order of bytes and changes is exact. The filter is passed on
// to children and threads; a program that was not started here and opens the port finds an ordinary pty.
//
//	this process                                     stage (this binary again)
//	  starts ------------------------------------->  sets the filter on one thread
//	  gets the listener <--- socketpair -----------  sends the listener
//	  answers calls (serve_linux.go) <-------------  execs the program from that thread
//	guard (this binary again)
//	  has the listener too; when this process is gone it lets every call go on, but for opens of what was the port
//	giver (this binary again)
//	  has the listener too, and hands descriptors of the port to programs; no end of this process tears that
//
// A call's way: receive (notify_linux.go), which file (descriptor_linux.go) or where a path leads (paths_linux.go, for
// what may wait walk_linux.go), what it does (ioctl_linux.go, opens_linux.go), and its answer (call_linux.go). A call
// that waits has a goroutine (wait_linux.go); one that a signal has interrupted may be made again (once_linux.go).
//
// It is no security border: a program can change what a path or a structure says after it was looked at, and every
// program of the tree is answered alike. It rests on the kernel's rights to look into processes of the same user.
//
// The package must not know that there is a network, nor who calls it: it imports uart, and what port hosts share.
package run
