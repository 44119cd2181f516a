package accessserver_test

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// deafen makes the client's kernel drop everything that arrives for it, and send nothing: for the server its machine is gone.
func deafen(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	devicetest.Eventually(t, "everything is acknowledged", func() bool {
		unacked := 0
		_ = raw.Control(func(fd uintptr) { unacked, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return err == nil && unacked == 0
	})
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // keep 0 bytes of each segment (socket(7), SO_ATTACH_FILTER)
	outer := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	})
	if outer != nil || err != nil {
		t.Fatalf("SO_ATTACH_FILTER: %v, %v", outer, err)
	}
}

// A client whose machine has vanished is replaced by the next client from its address, whether or not bytes were on their way to
// it.
func TestDeadOwnerIsReplaced(t *testing.T) {
	for _, tt := range []struct{ name, inject string }{{"idle", ""}, {"with bytes under way", `at 500ms data "anybody there?"`}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			script, err := simulate.ParseInject(tt.name, strings.NewReader(tt.inject))
			if err != nil {
				t.Fatal(err)
			}
			f := overTCP(t, script...)
			conn := f.dial()
			dead, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
			if err != nil {
				t.Fatal(err)
			}
			f.awaitLog("client connected")
			deafen(t, conn)
			next := f.connect(rfc2217.Config{})
			next.set(uart.Event{Coding: fast.Coding})
			next.send("mine now")
			next.sees("mine now")
			f.awaitLog("client disconnected", "replaced by a new client from its address")
			_ = dead.Close()
		})
	}
}

// A client that is stopped and reads nothing is alive: its kernel answers.
func TestLivingOwnerStays(t *testing.T) {
	t.Parallel()
	f := overTCP(t)
	lives, err := rfc2217.Open(t.Context(), f.dial(), rfc2217.Config{}) // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer lives.Close()
	f.awaitLog("client connected")
	for range 3 {
		f.refuses()
	}
}
