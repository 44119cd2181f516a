// Package interop holds tests only: telnetcpc as it is built, between real applications and real access servers. What
// it needs beside Go is installed by scripts/test; a test whose program is missing skips and says so, or fails under
// TELNETCPC_NEED=all. With -short nothing here runs.
//
//	application -- PORT == telnetcpc attach -- TCP -- access server == device
//
// The device is the master of a pty whose slave the access server opens: the test reads and writes it, and sees in its
// termios which settings have arrived. Tests of a network that fails put a network namespace at each end.
package interop
