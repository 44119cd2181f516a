package tcp

import (
	"context"
	"net"
	"syscall"
)

// Room is how many bytes of a peer a connection holds, about, that a listener of Listen has accepted: as many cannot be called
// back by a purge, and are lost with the session.
const Room = 8 << 10

// Listen listens on an address, HOST:PORT or :PORT. The connections that it accepts have from their first byte on what an
// access server wants of them: urgent data in its place, as with Prepare, and no more room than Room. Both are set before the
// system takes the first client: with one that comes in between, the window shrinks below the segments that it sends
// (half of the largest window it has seen), and each waits for the persist timer, 0.2 s. The error is the system's.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		inline(raw)
		setRoom(raw, Room)
		return nil
	}}
	config.SetMultipathTCP(false) // Linux' multipath sockets keep SO_OOBINLINE from the connections that they accept
	return config.Listen(ctx, "tcp", address)
}

// Peek returns the first byte that has come and nobody has read, without reading it, and whether there is one: false also on
// systems that do not tell, and where the connection is closed here. It never blocks.
func Peek(conn *net.TCPConn) (first byte, any bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	return peek(raw)
}
