// Package hosttest is the program of checks that telnetcpc, as it is built, passes on every port host of Linux. A check
// asks what a user sees: a program does something to the port, and the far end says what has arrived.
//
//	program under test -- PORT == telnetcpc -- TCP -- telnetcpc serve --simulate, or ser2net
//
// Run takes a Host: how its agent is started, and what its list of features says that it carries. A feature that is in
// the list must arrive whole; for one that is not, the check asserts the loss as the list names it. So the list can
// claim neither too much nor too little, and no check is passed over.
//
// The program under test is a process of its own (Main), which a check tells by RPC over its standard input and output
// what to do: to open the port, to set it, to start further programs (stty, python3-serial, a shell). Host.Start gives
// the command lines: Attach for a host whose agent stands beside the program; a host that starts its programs itself
// puts Agent.Program into its own command line.
//
// It runs on the pty and, where root has vhci_hcd, on the kernel tty in this package's own tests, and in a booted kernel
// in ptyhost/kerneltty/vmtest. A test that uses it says in its TestMain
//
//	hosttest.Main()
//
// before all else. It knows no host, and imports none: its tests do.
package hosttest
