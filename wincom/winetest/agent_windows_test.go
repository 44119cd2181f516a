package winetest

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart/uarttest"
)

// agent is a running telnetcpc.exe.
type agent struct {
	cmd  *exec.Cmd
	out  uarttest.Output
	done chan struct{} // closed when it has ended
	err  error         // of Wait; read after done
}

// wine is whether this Windows is Wine, which has a function that says its version.
var wine = windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil

// ownConsole gives this process, and what it starts from now on, a console that nobody else is at, once.
var ownConsole = sync.OnceFunc(func() {
	kernel := windows.NewLazySystemDLL("kernel32.dll")
	_, _, _ = kernel.NewProc("FreeConsole").Call() // in Wine it has half of one
	_, _, _ = kernel.NewProc("AllocConsole").Call()
	_ = windows.SetStdHandle(windows.STD_ERROR_HANDLE, windows.Handle(os.Stderr.Fd())) // for a panic
})

// interrupt ends the agent as a person at its console does: by Ctrl-Break, which goes to the agent's group alone. Wine
// has no Ctrl-Break. There it is Ctrl-C, which goes to everybody at the console, and so to this process too.
func (a *agent) interrupt() error {
	if !wine {
		return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(a.cmd.Process.Pid))
	}
	ours := make(chan os.Signal, 1)
	signal.Notify(ours, os.Interrupt)
	defer signal.Stop(ours)
	if err := windows.GenerateConsoleCtrlEvent(windows.CTRL_C_EVENT, 0); err != nil {
		return err
	}
	select {
	case <-ours:
		return nil
	case <-time.After(testenv.Patience):
		return errors.New("Ctrl-C does not come")
	}
}

// start runs telnetcpc.exe until the test ends. It must not have ended by itself, and ends in order when it is interrupted.
func start(t *testing.T, args ...string) *agent {
	t.Helper()
	a := &agent{cmd: exec.Command(os.Getenv(programVariable), args...), done: make(chan struct{})}
	a.cmd.Stdout, a.cmd.Stderr = &a.out, &a.out
	if wine {
		ownConsole()
	} else {
		a.cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	}
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

// stop interrupts the agent and waits for the end. It may be called again.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	early := a.ended()
	if !early {
		if err := a.interrupt(); err != nil {
			t.Errorf("interrupt: %v", err)
			_ = a.cmd.Process.Kill()
		}
	}
	select {
	case <-a.done:
	case <-time.After(testenv.Patience):
		t.Error("telnetcpc does not end when it is interrupted")
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
