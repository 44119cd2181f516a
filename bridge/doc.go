// Package bridge joins one serial port to one remote: what the application does to the port happens at the far UART, in
// order, over as many sessions as that takes, and what the device does comes back. It owns the policies: when a session
// is wanted, what the loss of one means, when the last byte is out. It must not know which host makes the port, nor which
// protocol a session uses: it is handed a function that opens a uart.Port, and a Remote that dials. Package agent builds
// bridges; the words used here are in the glossary of package uart.
//
// # The packages
//
//	cmd/telnetcpc          the commands: parse, wire, run, print; knows which hosts there are
//	bridge/agent           from a port's configuration to its bridge
//	bridge                 this package
//	bridge/uart            the base: value types and the interfaces Port, Session and Device; uarttest is the hosts' test suite
//
//	ptyhost                pseudo-terminals as ports; ptyhost/terminal is the pty itself
//	ptyhost/kerneltty      Linux kernel ttys as ports, by USB/IP with an emulated chip of bridge/usb
//	ptyhost/run            one program's own port: "run -- program"
//	wincom                 com0com pairs as ports, on Windows; wincom/winservice is the Windows service
//
//	bridge/remote          from a URL to a session: dial, TLS, raw
//	bridge/rfc2217         COM-PORT-OPTION, client and server; bridge/telnet is the NVT below it
//	bridge/probe           what a listener is, and how it deviates; bridge/makers has the facts about makers' servers
//	bridge/accessserver    the far end: "serve"; its Devices are in serialport and simulate
//	bridge/demo            both ends in one process
//	bridge/capture         an observer's records as lines for people
//
//	bridge/tcp             TCP beyond net.Conn; bridge/tlsconn is TLS that closes as TCP does
//	bridge/termios         line coding and flow control to and from termios
//	bridge/ordered         a queue of bytes with events between them
//	bridge/asynclog        a log that never blocks; bridge/loglimit is one that a peer cannot flood
//	bridge/escape          text from the network, made safe for a terminal
//	bridge/testenv         what the tests can rely on on this machine; bridge/interop has the tests with real servers
//
// Which package may import which, and why, is a table in cmd/telnetcpc/house_test.go.
//
// # The path of a byte
//
//	up:    application's write -> kernel -> Port.Next -> up -> Session.Write -> conn.Write
//	down:  conn.Read -> Session.Next -> down -> Port.Write -> kernel -> application's read
//
// One goroutine carries a byte the whole path, from the system call that reads it to the one that writes it. A change of
// settings takes the same path in the same loop, so order and back pressure need no other mechanism. A port has three
// goroutines: Run changes the phase (phase.go), dials, and owns every timer (timers.go); up carries the application's
// bytes and changes to the session (up.go); down carries the session's bytes and events to the port (down.go). A fourth,
// resend, exists only while a new session gets what was held for it.
//
// # Where is ...?
//
//	a quirk of a server: where do I add one?        bridge/rfc2217/quirks.go
//	a maker's banner: where do I add one?           bridge/makers/makers.go
//	a port host: where do I add one?                uart.Host in bridge/uart/host.go; then the list in cmd/telnetcpc/hosts_linux.go or _windows
//	who has the pty open?                           ptyhost/opens_linux.go
//	the order of bytes and settings on a pty?       ptyhost/order_linux.go
//	the RFC's number for a command?                 bridge/rfc2217/constants.go
//	TLS of a session?                               bridge/remote/tls.go
//	a lost byte: where is it counted?               session.loss in phase.go; Snapshot in status.go has all counts
//	an outage: where does its time come from?       link.downSince in link.go; Policy.HoldFor in policy.go
//	Ctrl-C: what happens?                           cmd/telnetcpc/signals.go ends Run's context; then shutdown.go
//	a flag's help?                                  cmd/telnetcpc/help.go; it is parsed in cmd/telnetcpc/portflags.go
//	the test against the real ser2net?              bridge/interop; server_linux_test.go there starts the servers
package bridge
