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

// facts are what this host finds on a machine, by a stage that becomes no program.
type facts struct {
	pty     error // why there are no pseudo-terminals
	started error // why there is no stage
	ended   bool  // it has ended without a word

	at    step          // how far it came
	errno syscall.Errno // and why not further

	descriptors error // why its descriptors cannot be looked at
	memory      error // why its memory cannot be read
	inject      error // why it cannot be given a descriptor
	sends       bool  // and that as the answer of its call, in one step
	scope       int   // kernel.yama.ptrace_scope; 0: everybody may look into his own processes, or no Yama
}

// instead is the way out where nothing helps.
const instead = "or use telnetcpc attach"

// explain is why no program can be run, in one line with the way out; nil: it can.
func (f facts) explain() error {
	switch {
	case f.pty != nil:
		return f.pty
	case f.started != nil:
		return fmt.Errorf("a process of this program cannot be started: %w (raise the limits: ulimit -n and -u, %s)", f.started, instead)
	case f.ended:
		return errors.New("a process of this program was ended at its start (by a seccomp profile? " + instead + ")")
	case f.at != stepListening:
		return explainStage(f.at, f.errno)
	case (f.descriptors != nil || f.memory != nil) && f.scope >= 3:
		return errors.New("kernel.yama.ptrace_scope is 3: nobody may look into processes until the next boot (set it to 1 at boot, " + instead + ")")
	case (f.descriptors != nil || f.memory != nil) && f.scope == 2:
		return errors.New("kernel.yama.ptrace_scope is 2: only root may look into processes (as root: sysctl kernel.yama.ptrace_scope=1, " + instead + ")")
	case f.memory != nil:
		return fmt.Errorf("the programs' memory cannot be read: %w (in a container: allow process_vm_readv, as --cap-add SYS_PTRACE does; %s)", f.memory, instead)
	case f.descriptors != nil:
		return fmt.Errorf("/proc does not show the programs' descriptors: %w (mount it without hidepid, %s)", f.descriptors, instead)
	case f.inject != nil:
		return errors.New("this kernel gives no descriptors to others (Linux 5.9 or newer is needed, " + instead + ")")
	}
	return nil
}

// explainStage says why a stage could not set the filter.
func explainStage(at step, errno syscall.Errno) error {
	switch {
	case at == stepPrivileges:
		return fmt.Errorf("no_new_privs: %w (Linux 5.9 or newer is needed, %s)", errno, instead)
	case errno == unix.EBUSY:
		return errors.New("somebody listens to this process's system calls already: another telnetcpc run, or a container manager such as LXD (run it outside, " + instead + ")")
	case errno == unix.EINVAL:
		return errors.New("this kernel has no seccomp user notification (Linux 5.9 or newer is needed, " + instead + ")")
	case errno == unix.EPERM, errno == unix.EACCES, errno == unix.ENOSYS:
		return fmt.Errorf("seccomp is forbidden here: %w (a container's profile? allow seccomp in it, %s)", errno, instead)
	}
	return fmt.Errorf("seccomp: %w (%s)", errno, instead)
}

// notes is what a user should know though programs can be run.
func (f facts) notes() []string {
	notes := []string{"for programs that it starts: telnetcpc run URL -- program"}
	if !f.sends {
		notes = append(notes, "this kernel is older than Linux 5.14: a signal that comes while an open is answered may leave the program a descriptor that it does not know of")
	}
	return notes
}

// Check implements uart.Host: it starts a process of this binary and looks into it.
func (h *Host) Check() error {
	if err := h.look().explain(); err != nil {
		return fmt.Errorf("%s: %w", hostName, err)
	}
	return nil
}

// Notes is what a user should know of this host on this machine, a line each.
func (h *Host) Notes() []string { return h.look().notes() }

// look finds the facts.
func (h *Host) look() facts {
	if err := terminal.Check(); err != nil {
		return facts{pty: fmt.Errorf("pty: %w", err)}
	}
	s, f := h.startStage("", nil, os.Environ())
	s.abandon()
	return f
}

// inspect looks into a stage that listens.
func (f *facts) inspect(pid int, l *listener) {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/fd/0", pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.descriptors = err
		if cause := (*os.PathError)(nil); errors.As(err, &cause) {
			f.descriptors = cause.Err
		}
	}
	// Nothing is at the lowest address: who may read gets EFAULT.
	if err := readMemory(uint32(pid), 1, make([]byte, 1)); !errors.Is(err, unix.EFAULT) {
		f.memory = err
	}
	a := addition{FD: uint32(l.fd)} // to a call that there is not: ENOENT, where the kernel knows the request
	if _, errno := l.add(&a); errno != unix.ENOENT {
		f.inject = errno
	}
	a.Flags = unix.SECCOMP_ADDFD_FLAG_SEND
	_, errno := l.add(&a)
	f.sends = errno == unix.ENOENT
	if text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil {
		f.scope, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
}
