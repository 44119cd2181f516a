//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/terminal"
)

// capabilities are what this host finds out about a machine, with a launcher that executes no program.
type capabilities struct {
	ptyErr   error // why there are no pseudo-terminals
	startErr error // why there is no launcher
	killed   bool  // it has ended without a message

	reached step          // how far it came
	errno   syscall.Errno // why it came no further

	descriptorsErr error // why its descriptors cannot be inspected
	memoryErr      error // why its memory cannot be read
	addfdErr       error // why no descriptor can be added to it
	addfdSend      bool  // adding one and answering the call can be one request
	ptraceScope    int   // kernel.yama.ptrace_scope; 0: processes of the same user may be inspected, or no Yama
}

// alternative is the way out if nothing else helps.
const alternative = "or use telnetcpc attach"

// explain returns why no program can be run, in one line with the way out; nil if programs can be run.
func (f capabilities) explain() error {
	switch {
	case f.ptyErr != nil:
		return f.ptyErr
	case f.startErr != nil:
		return fmt.Errorf("a process of this program cannot be started: %w (raise the limits: ulimit -n and -u, %s)", f.startErr, alternative)
	case f.killed:
		return errors.New("a process of this program was killed at its start (by a seccomp profile? " + alternative + ")")
	case f.reached != stepListening:
		return explainStep(f.reached, f.errno)
	case (f.descriptorsErr != nil || f.memoryErr != nil) && f.ptraceScope >= 3:
		return errors.New("kernel.yama.ptrace_scope is 3: no process may inspect another until the next boot (set it to 1 at boot, " + alternative + ")")
	case (f.descriptorsErr != nil || f.memoryErr != nil) && f.ptraceScope == 2:
		return errors.New("kernel.yama.ptrace_scope is 2: only root may inspect processes (as root: sysctl kernel.yama.ptrace_scope=1, " + alternative + ")")
	case f.memoryErr != nil:
		return fmt.Errorf("the programs' memory cannot be read: %w (in a container: allow process_vm_readv, as --cap-add SYS_PTRACE does; %s)", f.memoryErr, alternative)
	case f.descriptorsErr != nil:
		return fmt.Errorf("/proc does not show the programs' descriptors: %w (mount it without hidepid, %s)", f.descriptorsErr, alternative)
	case f.addfdErr != nil:
		return errors.New("this kernel cannot add a descriptor to another process (Linux 5.9 or newer is needed, " + alternative + ")")
	}
	return nil
}

// explainStep returns why a launcher could not install the filter.
func explainStep(at step, errno syscall.Errno) error {
	switch {
	case at == stepPrivileges:
		return fmt.Errorf("no_new_privs: %w (Linux 5.9 or newer is needed, %s)", errno, alternative)
	case errno == unix.EBUSY:
		return errors.New("this process's system calls have a listener already: another telnetcpc run, or a container manager such as LXD (run it outside, " + alternative + ")")
	case errno == unix.EINVAL:
		return errors.New("this kernel has no seccomp user notification (Linux 5.9 or newer is needed, " + alternative + ")")
	case errno == unix.EPERM, errno == unix.EACCES, errno == unix.ENOSYS:
		return fmt.Errorf("seccomp is forbidden here: %w (a container's profile? allow seccomp in it, %s)", errno, alternative)
	}
	return fmt.Errorf("seccomp: %w (%s)", errno, alternative)
}

// notes returns what a user should know although programs can be run.
func (f capabilities) notes() []string {
	notes := []string{"for programs that it starts: telnetcpc run URL -- program"}
	if !f.addfdSend {
		notes = append(notes, "this kernel is older than Linux 5.14: a signal that arrives while an open is answered may leave the program with a descriptor that it does not know of")
	}
	return notes
}

// Check implements uart.Host: it starts a process of this binary and inspects it.
func (h *Host) Check() error {
	if err := h.probe().explain(); err != nil {
		return fmt.Errorf("%s: %w", hostName, err)
	}
	return nil
}

// Notes returns what a user should know about this host on this machine, one line each.
func (h *Host) Notes() []string { return h.probe().notes() }

// probe finds out what this machine lets the host do.
func (h *Host) probe() capabilities {
	if err := terminal.Check(); err != nil {
		return capabilities{ptyErr: fmt.Errorf("pty: %w", err)}
	}
	s, f := h.startLauncher("", nil, os.Environ())
	s.abandon()
	return f
}

// probe inspects a launcher that has installed the filter.
func (f *capabilities) probe(pid int, l *listener) {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/fd/0", pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.descriptorsErr = err
		if cause := (*os.PathError)(nil); errors.As(err, &cause) {
			f.descriptorsErr = cause.Err
		}
	}
	// Nothing is mapped at address 1: if reading is allowed, it fails with EFAULT.
	if err := readMemory(uint32(pid), 1, make([]byte, 1)); !errors.Is(err, unix.EFAULT) {
		f.memoryErr = err
	}
	a := addfd{FD: uint32(l.fd)} // for a call that does not exist: ENOENT if the kernel knows the request
	if _, errno := l.ioctlAddFD(&a); errno != unix.ENOENT {
		f.addfdErr = errno
	}
	a.Flags = unix.SECCOMP_ADDFD_FLAG_SEND
	_, errno := l.ioctlAddFD(&a)
	f.addfdSend = errno == unix.ENOENT
	if text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil {
		f.ptraceScope, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
}
