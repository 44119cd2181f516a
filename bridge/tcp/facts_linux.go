package tcp

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// rtoMax bounds the time between two tries of TCP to reach a peer, in milliseconds. Without it the kernel asks a peer
	// with a closed window ever more rarely, up to each two minutes, and takes as long to see that it is gone (linux/tcp.h,
	// TCP_RTO_MAX_MS, since Linux 6.15).
	rtoMax = 3000
	// probesLost is how many questions about a closed window must have stayed without an answer for the peer to count
	// as silent: one or two get lost on any bad network.
	probesLost = 4
	// Since Linux 6.17 a segment beyond the window is dropped whole, the acknowledgement in it too (net/ipv4/tcp_input.c,
	// tcp_sequence). A peer whose small segments have filled the receive buffer has one there, and everything that it says
	// then is beyond the window: it seems silent, to keepalive as well, and is alive. So where an answer of a peer is missing
	// for perhapsUnheard, or to probesUnheard questions, and bytes of it lie unread, it is given roomMore bytes, again each
	// roomAgain, roomTimes at most: TCP's next question tells it of the room, and then its answer fits.
	perhapsUnheard, probesUnheard = time.Second, 2
	roomAgain                     = 250 * time.Millisecond
	roomMore, roomTimes           = 4 << 10, 64
	// roomMost is what any system lets a program have (net.core.rmem_max): to set more would make a larger buffer smaller.
	roomMost = 208 << 10
)

// Watch asks the kernel about one connection. Every method may be called by anyone at any time and never blocks. nil
// knows nothing.
type Watch struct {
	conn *net.TCPConn

	mu   sync.Mutex // over everything below: a look goes on from the one before
	wait wait
	more int       // how often the kernel was given more room
	at   time.Time // when it was the last time
}

// NewWatch returns a watch of conn, and has the kernel try in short intervals to reach a peer that does not answer: a
// kernel that cannot is only slower to notice. The connection stays the caller's.
func NewWatch(conn *net.TCPConn) *Watch {
	control(conn, func(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, rtoMax) })
	return &Watch{conn: conn}
}

func control(conn *net.TCPConn, f func(fd int)) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) }) == nil
}

// Unacked is SIOCOUTQ: bytes written and not acknowledged by the peer's TCP, sent or not (tcp(7)); -1: unknown.
func (w *Watch) Unacked() int {
	n := -1
	if w == nil {
		return n
	}
	control(w.conn, func(fd int) {
		if v, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	return n
}

// Look looks at TCP_INFO, and at SIOCINQ: bytes received and not read (tcp(7)). Where the peer seems silent because its bytes
// have filled the kernel's buffer, it has the kernel take a little more of them.
func (w *Watch) Look() Facts {
	if w == nil {
		return Facts{}
	}
	var info *unix.TCPInfo
	var f Facts
	control(w.conn, func(fd int) {
		got, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		info = got
		if n, err := unix.IoctlGetInt(fd, unix.SIOCINQ); err == nil {
			f.Unread = n
		}
	})
	if info == nil {
		return Facts{}
	}
	f.Known, f.Received, f.Acked = true, info.Bytes_received, info.Bytes_acked
	f.Silence = time.Duration(min(info.Last_ack_recv, info.Last_data_recv)) * time.Millisecond
	f.Asked = info.Unacked > 0 || info.Probes > 0
	switch info.State {
	case unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_FIN_WAIT2: // the two come after our own FIN
	default:
		f.Ended, f.Closed = true, info.State == unix.BPF_TCP_CLOSE
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	f.Waiting = w.wait.look(info, now)
	unheard := f.Unread > 0 && (f.Waiting >= perhapsUnheard || info.Probes >= probesUnheard)
	if unheard && w.more < roomTimes && now.Sub(w.at) >= roomAgain {
		w.more, w.at = w.more+1, now
		w.makeRoom()
	}
	return f
}

// makeRoom has the kernel take roomMore bytes more.
func (w *Watch) makeRoom() {
	control(w.conn, func(fd int) {
		if n := room(fd) + roomMore; n <= roomMost {
			grow(fd, n)
		}
	})
}

// wait is what is known of a peer that does not answer. The zero value is a peer of which nothing is wanted.
type wait struct {
	since time.Time // when that was sent which has no answer; zero: none is wanted
}

// look says how long the peer has left without any acknowledgement what it was sent.
//
// Whoever answers is alive, even if he takes nothing: a receiver that has no room for a segment may drop it and
// acknowledge each try anew. So it counts when the kernel has sent something last, new or again, and when the last
// acknowledgement of anything has come. The tries may lie minutes apart, so the time runs from a try, and not from the
// acknowledgement of the one before.
//
// A peer that has closed its window has nothing in flight. As long as it answers when TCP asks about the window it is
// alive and holds us back; the kernel counts the questions without an answer, and keepalive rests meanwhile.
func (w *wait) look(info *unix.TCPInfo, now time.Time) time.Duration {
	ago := func(ms uint32) time.Time { return now.Add(-time.Duration(ms) * time.Millisecond) }
	heard, sent := ago(info.Last_ack_recv), ago(info.Last_data_sent)
	switch {
	case info.Unacked == 0 && info.Probes >= probesLost:
		w.since = time.Time{}
		return now.Sub(heard)
	case info.Unacked == 0, !heard.Before(sent):
		w.since = time.Time{}
		return 0
	case w.since.IsZero() || heard.After(w.since):
		w.since = sent
	}
	return now.Sub(w.since)
}
