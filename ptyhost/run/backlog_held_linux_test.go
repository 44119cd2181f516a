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

// TestNothingIsRaisedAfterTheLastClose: a call that is held for want of room does nothing any more when the port was closed
// meanwhile, because its program was killed or another thread of it has closed the descriptor. Else DTR would be up while
// nobody has the port.
func TestNothingIsRaisedAfterTheLastClose(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		check, script string
		signal        syscall.Signal
	}{
		{"raises", `"$@" >"$0" & exec sleep 5`, syscall.SIGKILL}, // another program lives on
		{"shut", `exec "$@" >"$0"`, syscall.SIGUSR1},
	} {
		t.Run(tt.check, func(t *testing.T) {
			c, held := holding(t)
			p := c.startsBy(t, tt.script, tt.check)
			eventually(t, "the program is held", func() bool { return held() || over(p) })
			pid := 0
			if _, err := fmt.Sscanf(c.output(), "pid %d", &pid); err != nil {
				t.Fatalf("%q: %v", c.output(), err)
			}
			if err := syscall.Kill(pid, tt.signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has the port no more", func() bool { return !has(pid, c.Name()) })
			run.Busy(c.host) // it notices the last close, if nothing else has yet
			up := c.until(t, uart.KindClosed, uart.Control{})
			if tt.check == "shut" {
				c.ends(t, p)
			}
			c.starts(t, "dies") // it has the port open, and is held in the end
			if up = c.until(t, uart.KindOpened, up); up.DTR == uart.LevelOn || up.RTS == uart.LevelOn {
				t.Errorf("before the next open: %+v", up)
			}
			_, e, err := c.Next()
			if want := (uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn}); err != nil || e.Control != want {
				t.Errorf("the next open does %+v, %v; want %+v", e.Control, err, want)
			}
		})
	}
}

// TestSignalsProlongNoWait: a program whose timer lets the kernel begin its calls again and again waits no longer than another,
// for room and for the last visit's bytes, while a remote that is there takes nothing.
func TestSignalsProlongNoWait(t *testing.T) {
	run.Patience(t, time.Second)
	c := crowd(t, uart.PortConfig{OpenWait: 10 * testenv.Patience, Unsent: func() uart.Unsent {
		return uart.Unsent{Left: time.Hour, Bytes: 1, Up: true}
	}})
	c.ends(t, c.starts(t, "ticks"))
}

// has reports whether a process has a file open.
func has(pid int, file string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(fds, func(fd string) bool {
		to, _ := os.Readlink(fd)
		return to == file
	})
}

// until takes what comes from Next until an event of a kind, and returns what became of the lines.
func (c *crowded) until(t *testing.T, kind uart.Kind, lines uart.Control) uart.Control {
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
