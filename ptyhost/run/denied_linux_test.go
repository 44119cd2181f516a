//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denyVariable makes this test's binary forbid itself a system call and execute another program: like a container's
// profile.
const denyVariable = "TELNETCPC_TEST_DENY"

// denyMain is the main function of such a process.
func denyMain() {
	var number uint32
	if n, _ := fmt.Sscan(os.Getenv(denyVariable), &number); n != 1 {
		return
	}
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		panic(err)
	}
	_ = os.Unsetenv(denyVariable)
	panic(unix.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// TestDenied provokes what a kernel or a container may forbid. doctor and run report the same line.
func TestDenied(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, "loopback")
	deny := func(number uintptr) func(...string) *exec.Cmd {
		return func(args ...string) *exec.Cmd {
			cmd := unprivileged(exec.Command(self, append([]string{telnetcpc}, args...)...))
			cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", denyVariable, number))
			return cmd
		}
	}
	for _, tt := range []struct {
		name    string
		command func(args ...string) *exec.Cmd
		want    string
	}{
		{"seccomp", deny(unix.SYS_SECCOMP), "run: seccomp is forbidden here: operation not permitted (a container's profile? allow seccomp in it, or use telnetcpc attach)\n"},
		{"process_vm_readv", deny(unix.SYS_PROCESS_VM_READV), "run: the programs' memory cannot be read: operation not permitted (in a container: allow process_vm_readv, as --cap-add SYS_PTRACE does; or use telnetcpc attach)\n"},
		{"listener", func(args ...string) *exec.Cmd {
			return unprivileged(exec.Command(telnetcpc, append([]string{"run", address, "--", telnetcpc}, args...)...))
		}, "run: this process's system calls have a listener already: another telnetcpc run, or a container manager such as LXD (run it outside, or use telnetcpc attach)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := tt.command("doctor").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "\n"+tt.want) {
				t.Errorf("doctor: %v\n%swant %s", err, out, tt.want)
			}
			cmd := tt.command("run", address, "--", "true")
			out, _ = cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != 125 || string(out) != "telnetcpc: "+tt.want {
				t.Errorf("run: status %d: %s", status, out)
			}
		})
	}
}

// TestUndumpable: a program that cannot be inspected still runs, on an ordinary pty, and that is logged.
func TestUndumpable(t *testing.T) {
	program := compile(t, "gcc", "testdata/undumpable.c")
	address, _ := startServer(t, "loopback")
	out, errs, status := runTelnetcpc(t, address, "--", program)
	if status != 0 || out != "ok\n" || !strings.Contains(errs, "cannot inspect a program; it sees an ordinary pty") {
		t.Errorf("status %d: %s\n%s", status, out, errs)
	}
}
