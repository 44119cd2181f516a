//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/run"
)

// TestNoLineIsRaisedAfterLastClose: a call that is blocked for want of room has no effect any more if the port was
// closed in the meantime, because its program was killed or another thread has closed the descriptor. Otherwise DTR
// would be up while nobody has the port open.
func TestNoLineIsRaisedAfterLastClose(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		check, script string
		signal        syscall.Signal
	}{
		{"raises", `"$@" >"$0" & exec sleep 5`, syscall.SIGKILL}, // another program lives on, so no listener ends
		{"shut", `exec "$@" >"$0"`, syscall.SIGUSR1},
	} {
		t.Run(tt.check, func(t *testing.T) {
			c, held := newPortWithSession(t)
			p := c.startScript(t, tt.script, tt.check)
			eventually(t, "the program is held", func() bool { return held() || hasExited(p) })
			pid := 0
			if _, err := fmt.Sscanf(c.output(), "pid %d", &pid); err != nil {
				t.Fatalf("%q: %v", c.output(), err)
			}
			if err := syscall.Kill(pid, tt.signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has the port open no more", func() bool { return !hasOpen(pid, c.Name()) })
			run.Busy(c.host) // notices the last close, if nothing else has yet
			up := c.takeUntil(t, uart.KindClosed, uart.Control{})
			if tt.check == "shut" {
				c.waitOK(t, p)
			}
			c.start(t, "dies") // opens the port, and blocks in the end
			if up = c.takeUntil(t, uart.KindOpened, up); up.DTR == uart.LevelOn || up.RTS == uart.LevelOn {
				t.Errorf("before the next open: %+v", up)
			}
			_, e, err := c.Next()
			if want := (uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn}); err != nil || e.Control != want {
				t.Errorf("the next open does %+v, %v; want %+v", e.Control, err, want)
			}
		})
	}
}

// TestSignalsProlongNoWait: a program whose timer makes the kernel restart its calls again and again waits no longer
// than another one, for room and for the bytes before the last close, while a remote that is up takes nothing.
func TestSignalsProlongNoWait(t *testing.T) {
	run.Patience(t, time.Second)
	c := newLocalPort(t, uart.PortConfig{OpenWait: 10 * testenv.Patience, Unsent: func() uart.Unsent {
		return uart.Unsent{Left: time.Hour, Bytes: 1, Up: true}
	}})
	c.waitOK(t, c.start(t, "ticks"))
}

// hasOpen reports whether a process has a file open.
func hasOpen(pid int, file string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(fds, func(fd string) bool {
		to, _ := os.Readlink(fd)
		return to == file
	})
}

// takeUntil takes what Next returns up to an event of this kind, and returns the final state of the lines.
func (c *localPort) takeUntil(t *testing.T, kind uart.Kind, lines uart.Control) uart.Control {
	t.Helper()
	for {
		_, e, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == kind {
			return lines
		}
		lines = e.Control.Over(lines)
	}
}
