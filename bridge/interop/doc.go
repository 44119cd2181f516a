// Package interop has only tests: the built telnetcpc between real applications and real access servers. scripts/test
// installs the programs that it needs beside Go; a test whose program is missing is skipped with the reason, or fails
// under TELNETCPC_NEED=all. With -short nothing here runs.
//
//	application -- PORT == telnetcpc attach -- TCP -- access server == device
//
// The device is the master of a pty whose slave the access server opens: the test reads and writes it, and its termios
// shows which settings have arrived. Tests of network failures use a network namespace at each end.
package interop
