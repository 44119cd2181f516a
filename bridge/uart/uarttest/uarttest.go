// Package uarttest holds what tests of ports share: a fake port whose application the test scripts (Port, Host); TestHost,
// the suite that every port host must pass; and TTY, an application on a Linux tty. It is for tests only. It must not know
// any real host, the bridge or a network: a host's own test passes in its Host.
//
// The suite shares no code with what it tests: TTY has its own translation between uart's values and termios, written
// from the manual pages, so that it detects errors of bridge/termios. Do not merge the two.
package uarttest
