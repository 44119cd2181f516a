package accessserver

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// silent is how long nothing has come from the peer, and whether TCP waits for something: an acknowledgement, or the
// answer to a probe (tcp(7), TCP_INFO). known is false where the connection is closed here. It never blocks.
func silent(tcp *net.TCPConn) (since time.Duration, waits, known bool) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false, false
	}
	var info *unix.TCPInfo
	_ = raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if info == nil || err != nil {
		return 0, false, false
	}
	since = time.Duration(min(info.Last_ack_recv, info.Last_data_recv)) * time.Millisecond
	return since, info.Unacked > 0 || info.Probes > 0, true
}
