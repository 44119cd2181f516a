// Package hosttest is the set of checks that the built telnetcpc passes on every port host of Linux. A check tests what a user
// sees: a program does something to the port, and the far end reports what has arrived.
//
//	program under test -- PORT == telnetcpc -- TCP -- telnetcpc serve --simulate, or ser2net
//
// Run takes a Host: how its agent is started, and the features that it claims to carry. A feature on that list must arrive
// whole; for any other feature, the check asserts that it does not. So the list can claim neither too much nor too little,
// and no check is skipped.
//
// The program under test is a process of its own (Main). A check controls it by RPC over its standard input and output: to
// open the port, to set it, to start other programs (stty, python3-serial, a shell). Host.Start returns the command lines:
// Attach is for a host whose agent runs beside the program; a host that starts its programs itself puts Agent.Program into
// its own command line.
//
// This package's own tests run it on the pty and, if they run as root with vhci_hcd, on the kernel tty; ptyhost/kerneltty/vmtest
// runs it in a booted kernel. A TestMain of tests that use it calls, before anything else,
//
//	hosttest.Main()
//
// The package knows no host and imports none; only its tests do.
package hosttest
