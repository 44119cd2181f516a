package tcp

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// enough is how long these tests wait for something that must come.
const enough = time.Minute

// pair returns both ends of a connection on the loopback, closed with the test.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ends(t, l)
}

// served returns both ends of a connection to a listener of Listen.
func served(t *testing.T) (client, accepted *net.TCPConn) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ends(t, l)
}

// ends connects to l, and closes it.
func ends(t *testing.T, l net.Listener) (client, accepted *net.TCPConn) {
	t.Helper()
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, accepted = conn.(*net.TCPConn), taken.(*net.TCPConn)
	t.Cleanup(func() {
		_ = client.Close()
		_ = accepted.Close()
	})
	_ = client.SetDeadline(time.Now().Add(enough))
	_ = accepted.SetDeadline(time.Now().Add(enough))
	return client, accepted
}

// readings are what TCP_INFO reported of a connection, in order.
type readings []struct {
	at   time.Duration // since the first reading
	info unix.TCPInfo
	want time.Duration
}

// second is one second in the kernel's unit, milliseconds.
const second = 1000

// TestSilence: a peer that answers is alive, whatever it answers; its silence runs from the first try without an answer.
func TestSilence(t *testing.T) {
	for name, readings := range map[string]readings{
		"idle for an hour": {
			{0, unix.TCPInfo{Last_ack_recv: 3600 * second, Last_data_sent: 3600 * second}, 0},
		},
		// Captured from Linux 6.18: a receiver of SO_RCVBUF 1, which drops the one segment in flight each time and
		// acknowledges what it has. The tries are 6.5 s, then 13 s, apart: TCP_RTO_MAX_MS was not set.
		"no room, each try acknowledged": {
			{0, unix.TCPInfo{Unacked: 1, Backoff: 2, Last_ack_recv: 160, Last_data_sent: 160, Bytes_acked: 2001}, 0},
			{3 * time.Second, unix.TCPInfo{Unacked: 1, Backoff: 4, Last_ack_recv: 672, Last_data_sent: 672, Bytes_acked: 2001}, 0},
			{12 * time.Second, unix.TCPInfo{Unacked: 1, Backoff: 5, Last_ack_recv: 6400, Last_data_sent: 6400, Bytes_acked: 2001}, 0},
			{15 * time.Second, unix.TCPInfo{Unacked: 1, Backoff: 6, Last_ack_recv: 960, Last_data_sent: 2752, Bytes_acked: 2001}, 0},
		},
		"no room, and a try under way after 13 s": {
			{0, unix.TCPInfo{Unacked: 1, Last_ack_recv: 12 * second, Last_data_sent: 12 * second}, 0},
			{time.Second + 30*time.Millisecond, unix.TCPInfo{Unacked: 1, Last_ack_recv: 13030, Last_data_sent: 30}, 30 * time.Millisecond},
			{3 * time.Second, unix.TCPInfo{Unacked: 1, Last_ack_recv: 1900, Last_data_sent: 2 * second}, 0},
		},
		"no room, and then gone": {
			{0, unix.TCPInfo{Unacked: 1, Last_ack_recv: 700, Last_data_sent: 700}, 0},
			{2 * time.Second, unix.TCPInfo{Unacked: 1, Last_ack_recv: 2700, Last_data_sent: 1100}, 1100 * time.Millisecond},
			{12 * time.Second, unix.TCPInfo{Unacked: 1, Last_ack_recv: 12700, Last_data_sent: 4700}, 11100 * time.Millisecond},
		},
		"gone without a word": {
			{0, unix.TCPInfo{Unacked: 3, Last_ack_recv: 60 * second, Last_data_sent: 100}, 100 * time.Millisecond},
			{2 * time.Second, unix.TCPInfo{Unacked: 3, Last_ack_recv: 62 * second, Last_data_sent: 300}, 2100 * time.Millisecond},
			{10 * time.Second, unix.TCPInfo{Unacked: 3, Last_ack_recv: 70 * second, Last_data_sent: 3 * second}, 10100 * time.Millisecond},
		},
		"gone in the midst of a stream": {
			{0, unix.TCPInfo{Unacked: 10, Last_ack_recv: 4, Last_data_sent: 0, Bytes_acked: 1000}, 0},
			{2 * time.Second, unix.TCPInfo{Unacked: 10, Last_ack_recv: 1500, Last_data_sent: 200, Bytes_acked: 9000}, 200 * time.Millisecond},
			{12 * time.Second, unix.TCPInfo{Unacked: 10, Last_ack_recv: 11500, Last_data_sent: 1000, Bytes_acked: 9000}, 10200 * time.Millisecond},
		},
		"slow, and answers": {
			{0, unix.TCPInfo{Unacked: 10, Last_ack_recv: 900, Last_data_sent: 100}, 100 * time.Millisecond},
			{2 * time.Second, unix.TCPInfo{Unacked: 10, Last_ack_recv: 900, Last_data_sent: 100}, 100 * time.Millisecond},
			{12 * time.Second, unix.TCPInfo{Unacked: 10, Last_ack_recv: 900, Last_data_sent: 100}, 100 * time.Millisecond},
		},
		"closed window, questions answered": {
			{0, unix.TCPInfo{Probes: 1, Backoff: 6, Last_ack_recv: 13 * second, Last_data_sent: 60 * second}, 0},
			{time.Minute, unix.TCPInfo{Probes: 0, Backoff: 6, Last_ack_recv: 2 * second, Last_data_sent: 120 * second}, 0},
		},
		"closed window, then gone": {
			{0, unix.TCPInfo{Probes: 3, Backoff: 6, Last_ack_recv: 10 * second, Last_data_sent: 60 * second}, 0},
			{3 * time.Second, unix.TCPInfo{Probes: 4, Backoff: 7, Last_ack_recv: 13 * second, Last_data_sent: 63 * second}, 13 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s silence
			began := time.Now()
			for i, r := range readings {
				if got := s.update(&r.info, began.Add(r.at)); max(got-r.want, r.want-got) > 5*time.Millisecond {
					t.Errorf("reading %d: silent for %v, want %v", i, got, r.want)
				}
			}
		})
	}
}

// A receiver without room drops what is in flight and acknowledges each try: it is alive.
func TestAliveWithoutRoom(t *testing.T) {
	near, far := pair(t)
	socket := SocketOf(near)
	if err := far.SetReadBuffer(1); err != nil { // after it has announced a larger window
		t.Fatal(err)
	}
	_ = near.SetWriteDeadline(time.Now().Add(time.Second))
	for err := error(nil); err == nil; {
		_, err = near.Write(make([]byte, 1000))
	}
	acked, inFlight := -1, time.Time{}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		info := tcpInfo(t, socket)
		if info.Unacked == 0 || int(info.Bytes_acked) != acked {
			acked, inFlight = int(info.Bytes_acked), time.Now()
		}
		p := socket.Facts()
		if p.Waiting > time.Second {
			t.Errorf("silent for %v, but the last answer came %d ms ago", p.Waiting, info.Last_ack_recv)
			break
		}
		if time.Since(inFlight) > 3*time.Second {
			break
		}
		if time.Now().After(end) {
			t.Skip("this kernel's receiver closes its window in time, and drops nothing")
		}
	}
}

func tcpInfo(t *testing.T, s *Socket) (info *unix.TCPInfo) {
	t.Helper()
	control(s.conn, func(fd int) { info, _ = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO) })
	if info == nil {
		t.Fatal("no TCP_INFO")
	}
	return info
}

// Facts report what the peer has sent and nobody has read, and whether the peer has ended its half. That we have ended ours
// does not count.
func TestUnreadAndEnded(t *testing.T) {
	near, far := pair(t)
	socket := SocketOf(near)
	want := func(what string, unread int, ended, closed bool) {
		t.Helper()
		var p Facts
		for end := time.Now().Add(enough); ; time.Sleep(time.Millisecond) { // the kernel takes a moment
			if p = socket.Facts(); p.Known && p.Unread == unread && p.Ended == ended && p.Closed == closed {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: got %+v, want %d unread, ended %v, closed %v", what, p, unread, ended, closed)
			}
		}
	}
	want("at first", 0, false, false)
	if _, err := far.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	want("1000 bytes came", 1000, false, false)
	if _, err := io.ReadFull(near, make([]byte, 400)); err != nil {
		t.Fatal(err)
	}
	want("400 of them were read", 600, false, false)
	if err := near.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF { // and FIN is acknowledged
		t.Fatal(err)
	}
	want("our half is ended", 600, false, false)
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	want("the peer's too", 600, true, true)
}

// Facts distinguish a peer that resets the connection from one that ends it in order, also while bytes from it are unread.
func TestUnreadAndReset(t *testing.T) {
	for _, resets := range []bool{false, true} {
		near, far := pair(t)
		socket := SocketOf(near)
		if _, err := far.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if resets {
			_ = far.SetLinger(0) // Close resets
		}
		_ = far.Close()
		var p Facts
		for end := time.Now().Add(enough); !p.Ended; time.Sleep(time.Millisecond) { // the kernel takes a moment
			if p = socket.Facts(); time.Now().After(end) {
				t.Fatalf("the end is not reported: %+v", p)
			}
		}
		if p.Closed != resets {
			t.Errorf("reset %v: got %+v", resets, p)
		}
	}
}
