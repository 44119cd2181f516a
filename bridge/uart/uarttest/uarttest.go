// Package uarttest holds what tests of ports share: a fake port whose application a test scripts (Port, Host), and
// TestHost, the suite that every port host must pass. It is for tests only, and must not know any real host, the
// bridge or a network: a host's own test hands its Host in.
package uarttest
