package remote

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// notSentLowat bounds what the kernel takes from us before it has sent it: bytes in there cannot be called back by a
// purge. It does not bound the window, so a long link keeps its speed (tcp(7), TCP_NOTSENT_LOWAT).
const notSentLowat = 16 << 10

const (
	// rtoMax bounds the time between two tries of TCP to reach a peer, in milliseconds. Without it the kernel asks a peer
	// with a closed window ever more rarely, up to each two minutes, and takes as long to see that it is gone (linux/tcp.h,
	// TCP_RTO_MAX_MS, since Linux 6.15).
	rtoMax = 3000
	// probesLost is how many questions about a closed window must have stayed without an answer for the peer to count
	// as silent: one or two get lost on any bad network.
	probesLost = 4
)

// socket asks the kernel about one TCP connection. Every method may be called by anyone at any time and never blocks.
type socket struct {
	conn *net.TCPConn

	mu    sync.Mutex // over the two fields below: what the last look at the peer found
	acked uint64     // bytes acknowledged by then
	since time.Time  // since when data has been in flight without an acknowledgement; zero: none was
}

func newSocket(conn *net.TCPConn) *socket {
	s := &socket{conn: conn}
	s.control(func(fd int) {
		// A kernel that lacks the one only keeps more bytes under way, one that lacks the other is only slower to notice.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, rtoMax)
	})
	return s
}

func (s *socket) control(f func(fd int)) bool {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) }) == nil
}

// Unacked is SIOCOUTQ: bytes written and not acknowledged by the peer's TCP, sent or not (tcp(7)).
func (s *socket) Unacked() int {
	n := -1
	s.control(func(fd int) {
		if v, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	return n
}

// Alive looks at TCP_INFO. Data counts as waiting only while segments are in flight: a peer that has closed its
// window has none in flight. As long as it answers when TCP asks about the window it is alive and holds us back; the
// kernel counts the questions without an answer, and keepalive rests meanwhile.
func (s *socket) Alive() Peer {
	var info *unix.TCPInfo
	s.control(func(fd int) {
		if got, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info = got
		}
	})
	if info == nil {
		return Peer{}
	}
	p := Peer{Known: true, Ended: info.State != unix.BPF_TCP_ESTABLISHED}
	s.mu.Lock()
	defer s.mu.Unlock()
	if info.Unacked == 0 {
		s.since = time.Time{}
		if info.Probes >= probesLost {
			p.Waiting = time.Duration(info.Last_ack_recv) * time.Millisecond
		}
		return p
	}
	if s.since.IsZero() || s.acked != info.Bytes_acked {
		s.since, s.acked = time.Now(), info.Bytes_acked
	}
	p.Waiting = time.Since(s.since)
	return p
}
