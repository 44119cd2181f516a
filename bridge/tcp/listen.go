package tcp

import (
	"context"
	"net"
	"syscall"
)

// ReceiveBuffer is approximately how many bytes a connection accepted by Listen holds before they are read. A purge
// cannot drop them, and they are lost with the session.
const ReceiveBuffer = 8 << 10

// Listen listens on an address, HOST:PORT or :PORT. The error is the system's. From their first byte on, the connections
// that it accepts have
//
//   - urgent data in its place in the stream (SO_OOBINLINE). Telnet's Synch sends DM as urgent data (RFC 854), and a kernel
//     that takes the DM out of the stream leaves a bare IAC, which eats the byte after it. On a raw connection an urgent byte
//     is a byte of data;
//   - a small receive buffer.
//
// Both are set before the system accepts a client. If the buffer shrank only after the first segment, the window would be
// smaller than the segments that the client sends (half of the largest window it has seen), and each segment would wait
// for the persist timer, 0.2 s.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		inline(raw)
		setReceiveBuffer(raw, ReceiveBuffer)
		return nil
	}}
	config.SetMultipathTCP(false) // the connections that a multipath socket of Linux accepts do not inherit SO_OOBINLINE
	return config.Listen(ctx, "tcp", address)
}
