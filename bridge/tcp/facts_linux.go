package tcp

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// rtoMax limits the time between two tries of TCP to reach a peer, in milliseconds. Without it the kernel probes a peer
	// with a closed window more and more rarely, down to once in two minutes, and takes as long to detect that it is gone
	// (linux/tcp.h, TCP_RTO_MAX_MS, since Linux 6.15).
	rtoMax = 3000
	// probesLost is how many probes of a closed window must be unanswered before a peer counts as silent: a bad network
	// loses one or two.
	probesLost = 4
	// Since Linux 6.17 a segment beyond the window is dropped whole, with the acknowledgement in it (net/ipv4/tcp_input.c,
	// tcp_sequence). If a peer has filled the receive buffer with small segments, everything that it sends is beyond the
	// window: it seems silent, to keepalive too, although it is alive. So if the peer leaves data unanswered for
	// unheardAfter, or probesUnheard probes, while bytes from it are unread, the buffer grows by roomStep, again every
	// roomEvery, at most roomTimes: the next probe announces the new window, and then the answer fits.
	unheardAfter, probesUnheard = time.Second, 2
	roomEvery                   = 250 * time.Millisecond
	roomStep, roomTimes         = 4 << 10, 64
	// roomMost, in bytes, is what every system allows a program (net.core.rmem_max): setting more would shrink a larger
	// buffer.
	roomMost = 208 << 10
)

// memory is what Facts remembers between its calls.
type memory struct {
	mu      sync.Mutex // guards everything below: a call of Facts builds on the one before
	silence silence
	grown   int       // how often the receive buffer was enlarged
	grownAt time.Time // when it was last enlarged
}

// limitRetries sets rtoMax. A kernel without the option only detects a dead peer later.
func limitRetries(conn *net.TCPConn) {
	control(conn, func(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, rtoMax) })
}

// control calls f with conn's descriptor. It does nothing once conn is closed.
func control(conn *net.TCPConn, f func(fd int)) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// Unacked returns how many bytes were written that the peer's TCP has not acknowledged, sent or not (SIOCOUTQ, tcp(7)); -1 if
// unknown.
func (s *Socket) Unacked() int {
	n := -1
	if s == nil {
		return n
	}
	control(s.conn, func(fd int) {
		if v, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	return n
}

// Facts reads TCP_INFO, and SIOCINQ for the unread bytes (tcp(7)). If the peer seems silent because its bytes fill the
// receive buffer, it enlarges that buffer by roomStep.
func (s *Socket) Facts() Facts {
	if s == nil {
		return Facts{}
	}
	var info *unix.TCPInfo
	var f Facts
	control(s.conn, func(fd int) {
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
	f.Awaited = info.Unacked > 0 || info.Probes > 0
	switch info.State {
	case unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_FIN_WAIT2: // the latter two follow our own FIN
	default:
		f.Ended, f.Closed = true, info.State == unix.BPF_TCP_CLOSE
	}
	now := time.Now()
	p := &s.memory
	p.mu.Lock()
	defer p.mu.Unlock()
	f.Waiting = p.silence.update(info, now)
	unheard := f.Unread > 0 && (f.Waiting >= unheardAfter || info.Probes >= probesUnheard)
	if unheard && p.grown < roomTimes && now.Sub(p.grownAt) >= roomEvery {
		p.grown, p.grownAt = p.grown+1, now
		makeRoom(s.conn)
	}
	return f
}

// makeRoom enlarges the receive buffer by roomStep.
func makeRoom(conn *net.TCPConn) {
	control(conn, func(fd int) {
		if n := receiveBuffer(fd) + roomStep; n <= roomMost {
			setBuffer(fd, n)
		}
	})
}

// silence measures how long a peer has not answered. The zero value is that of a peer that owes no answer.
type silence struct {
	since time.Time // when the first thing was sent that has no answer; zero: no answer is outstanding
}

// update returns how long the peer has not acknowledged anything although an acknowledgement is due; 0: none is.
//
// A peer that answers is alive, even if it takes nothing: a receiver without room for a segment may drop it and
// acknowledge each try again. So update compares the time at which the kernel last sent something, new or again, with
// that of the last acknowledgement of anything. The tries may be minutes apart, so the time runs from a try, not from the
// acknowledgement of the previous one.
//
// A peer that has closed its window has nothing in flight. As long as it answers TCP's probes of the window, it is alive
// and only slow; the kernel counts the unanswered probes, and suspends keepalive meanwhile.
func (s *silence) update(info *unix.TCPInfo, now time.Time) time.Duration {
	ago := func(ms uint32) time.Time { return now.Add(-time.Duration(ms) * time.Millisecond) }
	heard, sent := ago(info.Last_ack_recv), ago(info.Last_data_sent)
	switch {
	case info.Unacked == 0 && info.Probes >= probesLost:
		s.since = time.Time{}
		return now.Sub(heard)
	case info.Unacked == 0, !heard.Before(sent):
		s.since = time.Time{}
		return 0
	case s.since.IsZero() || heard.After(s.since):
		s.since = sent
	}
	return now.Sub(s.since)
}
