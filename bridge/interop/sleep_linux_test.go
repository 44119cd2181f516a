package interop

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost/logind/logindtest"
)

// TestSleep: a machine that goes to sleep waits until the sessions of its ports have ended, with every host; after it
// has woken up they come back. The bus and logind may start after the agent.
func TestSleep(t *testing.T) {
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]func(path, url string) *exec.Cmd{
		"attach": func(path, url string) *exec.Cmd {
			return exec.Command(program, "attach", "--host", "pty", "--connect", "always", path, url)
		},
		"run": func(path, url string) *exec.Cmd {
			return exec.Command(program, "run", "--connect", "always", "--port", path, url, "--", "sleep", "600")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := logindtest.NewBus(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			cmd := command(filepath.Join(t.TempDir(), "ttyV0"), "tcp://"+l.Addr().String())
			cmd.Env = append(cmd.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+bus.Address)
			cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // with its children
			agent := start(t, cmd)
			conn := accepted(t, l)
			m := logindtest.NewManager(t, bus) // after the agent
			for range 2 {
				eventually(t, "the lock is taken", func() bool { return m.Held() == 1 })
				if ended(t, conn) {
					t.Fatal("the session has ended before the machine wants to sleep")
				}
				m.Prepare(true)
				eventually(t, "the lock is released", func() bool { return m.Held() == 0 })
				if !ended(t, conn) {
					t.Error("the lock was released before the session's end")
				}
				_ = conn.Close()
				m.Prepare(false)
				conn = accepted(t, l)
			}
			agent.signal(t, unix.SIGTERM)
			eventually(t, "the lock is released at the end", func() bool { return m.Held() == 0 })
		})
	}
}

// accepted returns the next connection; it is closed when the test ends.
func accepted(t *testing.T, l net.Listener) *net.TCPConn {
	t.Helper()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(testenv.Patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// ended reports whether FIN or a reset of the peer has arrived; it does not wait.
func ended(t *testing.T, conn *net.TCPConn) (over bool) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			over = n == 0 && err == nil || err == unix.ECONNRESET
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return over
}
