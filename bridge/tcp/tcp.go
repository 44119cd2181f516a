// Package tcp is what TCP knows and can beyond net.Conn: what the kernel tells of the peer, and the options that both
// ends of this product want of a connection. It knows no protocol above TCP; what a system does not tell is unknown.
package tcp

import (
	"net"
	"time"
)

// Facts are what the kernel knows of one connection at one moment.
type Facts struct {
	Known    bool          // false: this system does not tell, or the connection is closed here; the rest means nothing then
	Ended    bool          // the peer has sent its FIN or RST, whether or not it has been read, or TCP has given it up
	Closed   bool          // Ended, and by a RST or TCP itself, or we have sent our FIN too: nothing more can come
	Unread   int           // bytes that have come and nobody has read; 0 where it is not known
	Received uint64        // bytes of the peer that have come in all
	Acked    uint64        // bytes of ours that the peer has acknowledged in all; 0 where it is not known
	Waiting  time.Duration // how long what was sent, or questions about a closed window, have been without an acknowledgement of anything; 0: none are
	Silence  time.Duration // how long nothing has come from the peer, neither data nor an acknowledgement
	Asked    bool          // TCP waits for something: an acknowledgement, or the answer to a probe
}

// KeepAlive is how TCP is to notice within 15 s that a peer is gone without a word, while nothing is in flight.
func KeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5}
}
