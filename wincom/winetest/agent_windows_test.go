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
)

// agent is a running telnetcpc.exe.
type agent struct {
	cmd  *exec.Cmd
	out  testenv.Output
	done chan struct{} // closed once it has exited
	err  error         // of Wait; read after done
}

// wine reports whether this Windows is Wine, which exports a function for its version.
var wine = windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil

// ownConsole gives this process, and those that it starts from then on, a console of their own, once.
var ownConsole = sync.OnceFunc(func() {
	kernel := windows.NewLazySystemDLL("kernel32.dll")
	_, _, _ = kernel.NewProc("FreeConsole").Call() // in Wine it has an incomplete one
	_, _, _ = kernel.NewProc("AllocConsole").Call()
	_ = windows.SetStdHandle(windows.STD_ERROR_HANDLE, windows.Handle(os.Stderr.Fd())) // for a panic
})

// interrupt ends the agent as a user at its console does: by Ctrl-Break, which goes only to the agent's process group. Wine
// has no Ctrl-Break. There it is Ctrl-C, which goes to every process at the console, and so to this one too.
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
		return errors.New("Ctrl-C did not arrive")
	}
}

// start runs telnetcpc.exe until the test ends. By then it must not have exited, and must exit with status 0 on an
// interrupt.
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
			t.Logf("output of telnetcpc %s:\n%s", strings.Join(args, " "), a.out.String())
		}
	})
	return a
}

func (a *agent) exited() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// stop interrupts the agent and waits until it has exited. Idempotent.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	early := a.exited()
	if !early {
		if err := a.interrupt(); err != nil {
			t.Errorf("interrupt: %v", err)
			_ = a.cmd.Process.Kill()
		}
	}
	select {
	case <-a.done:
	case <-time.After(testenv.Patience):
		t.Error("telnetcpc did not exit on an interrupt")
		_ = a.cmd.Process.Kill()
		<-a.done
	}
	if a.err != nil {
		t.Errorf("telnetcpc exited with %v, want status 0", a.err)
	}
	if strings.Contains(a.out.String(), "panic:") {
		t.Error("telnetcpc panicked")
	}
}
