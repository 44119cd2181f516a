package vmtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// yama is the kernel's setting of who may inspect processes.
const yama = "/proc/sys/kernel/yama/ptrace_scope"

// checkYama: telnetcpc run under Yama, which few machines that build this have. With 1, the value of Ubuntu and Debian, only
// an ancestor may inspect a program: an orphan still has a whole port. With 2 only root may, and run reports that.
func checkYama(t *testing.T) {
	serveLoopback(t, "127.0.0.1:3697")
	// To where the user nobody may execute it.
	program := filepath.Join("/tmp", "telnetcpc-of-nobody")
	if text, err := os.ReadFile(telnetcpc()); err != nil || os.WriteFile(program, text, 0o755) != nil || os.Chmod("/tmp", 0o777) != nil {
		t.Fatal("the program cannot be copied")
	}
	asNobody := func(args ...string) (string, int) {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "HOME=/", "TMPDIR=/tmp")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.WaitDelay = time.Second
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	set := func(scope string) {
		if err := os.WriteFile(yama, []byte(scope), 0); err != nil {
			t.Fatal(err)
		}
	}
	set("1")
	// The orphan waits until its parents have ended, and then opens the port again. It has it open before, so that telnetcpc
	// waits for it however slow the machine is.
	const orphan = `sh -c 'exec 3<>"$TELNETCPC_PORT"; (while kill -0 '$$' 2>/dev/null; do sleep 0.01; done; stty -F "$TELNETCPC_PORT" 4800 cs7 parenb) &'`
	out, status := asNobody("run", "-v", "127.0.0.1:3697", "--", "sh", "-c", orphan)
	if status != 0 || !strings.Contains(out, "up   settings 4800 7E1") {
		t.Errorf("an orphan, ptrace_scope 1: status %d:\n%s", status, out)
	}
	set("2")
	line := regexp.MustCompile(`(?m)^(telnetcpc: )?run: kernel\.yama\.ptrace_scope is 2: only root may inspect processes \(as root: sysctl kernel\.yama\.ptrace_scope=1, or use telnetcpc attach\)$`)
	for _, args := range [][]string{{"doctor"}, {"run", "127.0.0.1:3697", "--", "true"}} {
		if out, status := asNobody(args...); !line.MatchString(out) || args[0] == "run" && status != 125 {
			t.Errorf("%s, ptrace_scope 2: status %d:\n%s", args[0], status, out)
		}
	}
	set("0")
}

// serveLoopback starts an access server with a simulated UART at an address, until the test's end.
func serveLoopback(t *testing.T, address string) {
	t.Helper()
	server := exec.Command(telnetcpc(), "serve", "-v", "--listen", address, "--simulate", "loopback")
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	if _, err := stderr.Read(make([]byte, 1)); err != nil { // it listens when it says so
		t.Fatal(err)
	}
}
