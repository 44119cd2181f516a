package winetest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// What TestCOM9 is told by its environment; scripts/verify-windows.ps1 sets it.
const (
	pairVariable    = "TELNETCPC_PAIR"    // the application's end: COM9
	programVariable = "TELNETCPC_PROGRAM" // telnetcpc.exe
)

// syncBuffer is a buffer for the output of a process.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// agent is a running telnetcpc.exe.
type agent struct {
	cmd  *exec.Cmd
	out  syncBuffer
	done chan struct{} // closed when it has ended
	err  error         // of Wait; read after done
}

// start runs telnetcpc.exe until the test ends. It must not have ended by itself, and ends in order at Ctrl-Break.
func start(t *testing.T, args ...string) *agent {
	t.Helper()
	a := &agent{cmd: exec.Command(os.Getenv(programVariable), args...), done: make(chan struct{})}
	a.cmd.Stdout, a.cmd.Stderr = &a.out, &a.out
	// A group of its own: Ctrl-Break goes to a group, and must not come to this process.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		a.err = a.cmd.Wait()
		close(a.done)
	}()
	t.Cleanup(func() {
		a.stop(t)
		if t.Failed() {
			t.Logf("telnetcpc %s said:\n%s", strings.Join(args, " "), a.out.String())
		}
	})
	return a
}

func (a *agent) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// stop presses Ctrl-Break and waits for the end. It may be called again.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	early := a.ended()
	if !early {
		if err := windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(a.cmd.Process.Pid)); err != nil {
			t.Errorf("Ctrl-Break: %v", err)
		}
	}
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Error("telnetcpc does not end at Ctrl-Break")
		_ = a.cmd.Process.Kill()
		<-a.done
	}
	if a.err != nil {
		t.Errorf("telnetcpc ended with %v, want status 0", a.err)
	}
	if strings.Contains(a.out.String(), "panic:") {
		t.Error("telnetcpc panicked")
	}
}
