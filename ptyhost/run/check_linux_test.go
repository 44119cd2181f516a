//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

func TestExplain(t *testing.T) {
	well := capabilities{reached: stepListening, addfdSend: true}
	for _, tt := range []struct {
		name   string
		change func(*capabilities)
		want   string // part of the error; empty: none
	}{
		{"all is well", func(*capabilities) {}, ""},
		{"no pty", func(f *capabilities) { f.ptyErr = errors.New("no pty (mount devpts)") }, "no pty (mount devpts)"},
		{"cannot start", func(f *capabilities) { f.startErr = unix.EAGAIN }, "cannot be started: resource temporarily unavailable (raise the limits: ulimit -n and -u, or use telnetcpc attach)"},
		{"killed", func(f *capabilities) { f.killed = true }, "was killed at its start (by a seccomp profile? or use telnetcpc attach)"},
		{"no_new_privs", func(f *capabilities) { f.reached, f.errno = stepPrivileges, unix.EINVAL }, "no_new_privs: invalid argument (Linux 5.9"},
		{"another listener", func(f *capabilities) { f.reached, f.errno = stepFilter, unix.EBUSY }, "another telnetcpc run, or a container manager such as LXD (run it outside, or use telnetcpc attach)"},
		{"old kernel", func(f *capabilities) { f.reached, f.errno = stepFilter, unix.EINVAL }, "no seccomp user notification (Linux 5.9 or newer is needed, or use telnetcpc attach)"},
		{"forbidden", func(f *capabilities) { f.reached, f.errno = stepFilter, unix.EPERM }, "seccomp is forbidden here: operation not permitted (a container's profile? allow seccomp in it, or use telnetcpc attach)"},
		{"not built in", func(f *capabilities) { f.reached, f.errno = stepFilter, unix.ENOSYS }, "seccomp is forbidden here: function not implemented"},
		{"something else", func(f *capabilities) { f.reached, f.errno = stepFilter, unix.ENOMEM }, "seccomp: cannot allocate memory (or use telnetcpc attach)"},
		{"no memory", func(f *capabilities) { f.memoryErr = unix.EPERM }, "memory cannot be read: operation not permitted (in a container: allow process_vm_readv"},
		{"yama 1", func(f *capabilities) { f.ptraceScope = 1 }, ""},
		{"yama 2", func(f *capabilities) { f.memoryErr, f.ptraceScope = unix.EPERM, 2 }, "kernel.yama.ptrace_scope is 2: only root may inspect processes (as root: sysctl kernel.yama.ptrace_scope=1, or"},
		{"yama 2 for root", func(f *capabilities) { f.ptraceScope = 2 }, ""},
		{"yama 3", func(f *capabilities) { f.descriptorsErr, f.ptraceScope = unix.EACCES, 3 }, "kernel.yama.ptrace_scope is 3: no process may"},
		{"hidden proc", func(f *capabilities) { f.descriptorsErr = unix.ENOENT }, "/proc does not show the programs' descriptors: no such file or directory (mount it without hidepid"},
		{"no injection", func(f *capabilities) { f.addfdErr = unix.EINVAL }, "cannot add a descriptor to another process (Linux 5.9 or newer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := well
			tt.change(&f)
			err := f.explain()
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	if n := (capabilities{addfdSend: true}).notes(); len(n) != 1 {
		t.Errorf("a new kernel: got %q", n)
	}
	if n := (capabilities{}).notes(); len(n) != 2 || !strings.Contains(n[1], "Linux 5.14") {
		t.Errorf("an old kernel: got %q", n)
	}
}

// verdict runs a filter as the kernel does.
func verdict(t *testing.T, p []unix.SockFilter, arch, number, request uint32) uint32 {
	t.Helper()
	words := map[uint32]uint32{dataNumber: number, dataArch: arch, dataRequest: request}
	var a uint32
	for i := 0; i < len(p); i++ {
		switch f := p[i]; f.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = words[f.K]
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= f.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if a == f.K {
				i += int(f.Jt)
			} else {
				i += int(f.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return f.K
		default:
			t.Fatalf("instruction %d has the code %#x", i, f.Code)
		}
	}
	t.Fatal("the filter does not end")
	return 0
}

// TestFilter: exactly the calls of the tables are trapped, and of the ioctls exactly the serial ones.
func TestFilter(t *testing.T) {
	const allow, notify = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_USER_NOTIF
	serial := map[uint32]bool{}
	for _, r := range serialRequests {
		serial[r] = true
	}
	requests := append([]uint32{unix.TIOCGWINSZ, unix.TIOCGPGRP, unix.TIOCINQ, 0x5421, unix.TCXONC, 0, ^uint32(0)}, serialRequests...)
	for _, paths := range []bool{false, true} {
		p := filter(paths)
		if len(p) > 255 {
			t.Errorf("%d instructions: a jump does not fit into a byte", len(p))
		}
		if got := verdict(t, p, 0xdead, 0, 0); got != allow {
			t.Errorf("an unknown ABI: got %#x", got)
		}
		for _, a := range abis {
			for number := range uint32(600) {
				e, known := a.calls[number]
				for _, r := range requests {
					want := uint32(allow)
					switch {
					case known && e.kind == kindIoctl && serial[r]:
						want = notify
					case known && e.kind != kindIoctl && (paths || e.kind == kindOpen || e.kind == kindOpen2 || e.kind == kindCreate):
						want = notify
					}
					if got := verdict(t, p, a.audit, number, r); got != want {
						t.Fatalf("ABI %#x, call %d, request %#x: got %#x, want %#x", a.audit, number, r, got, want)
					}
					if got := verdict(t, p, a.audit, number|x32Bit, r); got != want {
						t.Fatalf("ABI %#x, call %d of x32: got %#x, want %#x", a.audit, number, got, want)
					}
				}
			}
		}
	}
}

// TestOnPty: the pty gets the flags of the line discipline alone.
func TestOnPty(t *testing.T) {
	pty := onPty(unix.Termios{Iflag: unix.PARMRK | unix.INPCK | unix.ISTRIP | unix.ICRNL, Cflag: unix.CS7 | unix.PARENB | unix.HUPCL, Lflag: unix.ICANON})
	if want := (unix.Termios{Iflag: unix.ICRNL, Cflag: unix.CS8 | unix.CREAD | unix.HUPCL, Lflag: unix.ICANON}); pty != want {
		t.Errorf("on the pty: got %+v, want %+v", pty, want)
	}
}

// TestOldTermios: struct termio leaves the upper halves of the flags alone.
func TestOldTermios(t *testing.T) {
	tio := unix.Termios{Iflag: 0x1234abcd, Oflag: 5, Cflag: 0x80000000 | unix.CS7, Lflag: 8, Line: 1}
	for i := range tio.Cc {
		tio.Cc[i] = uint8(i)
	}
	back := tio
	setTermio(&back, toTermio(&tio))
	if back != tio {
		t.Errorf("got %+v, want %+v", back, tio)
	}
	setTermio(&back, termio{Cflag: unix.CS8})
	if back.Cflag != 0x80000000|unix.CS8 || back.Iflag != 0x12340000 {
		t.Errorf("got %+v", back)
	}
}

// TestReceive: what a program reads of bytes with errors, for each of the input flags.
func TestReceive(t *testing.T) {
	for _, tt := range []struct {
		flags uint32
		error uart.LineState
		want  string
	}{
		{0, 0, "\xffA\x81"},
		{unix.PARMRK, 0, "\xff\xffA\x81"},
		{unix.ISTRIP, 0, "\x7fA\x01"},
		{unix.ISTRIP | unix.PARMRK, 0, "\x7fA\x01"},
		{0, uart.LineParity, "\xffA\x81"},
		{unix.INPCK, uart.LineParity, "\x00A\x81"},
		{unix.INPCK | unix.PARMRK, uart.LineFraming, "\xff\x00\xffA\x81"},
		{unix.INPCK | unix.IGNPAR, uart.LineParity, "A\x81"},
		{unix.INPCK | unix.PARMRK, uart.LineOverrun, "\xff\xffA\x81"},
		{unix.PARMRK, uart.LineParity, "\xff\xffA\x81"},
	} {
		p := &port{input: inputState{errorNext: tt.error}, line: lineState{termios: unix.Termios{Iflag: tt.flags}}}
		if got := string(p.applyInputFlags(nil, []byte("\xffA\x81"))); got != tt.want {
			t.Errorf("flags %#x, %v: got %q, want %q", tt.flags, tt.error, got, tt.want)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		as   string
		good bool
	}{
		{"/dev/ttyS0", true}, {"/dev/ttyUSB*", true}, {"/dev/tty[AB]?", true},
		{"", false}, {"ttyS0", false}, {"/dev/[", false}, {"/dev/../ttyS0", false}, {"/dev/", false}, {"/dev/a\x00", false},
	} {
		if err := checkPaths([]string{tt.as}); (err == nil) != tt.good {
			t.Errorf("%q: got %v, want good: %v", tt.as, err, tt.good)
		}
	}
}

// TestStat64: the members are where the C library of a 32-bit system expects them.
func TestStat64(t *testing.T) {
	st := unix.Stat_t{Dev: 1, Ino: 1 << 33, Mode: 2, Nlink: 3, Uid: 4, Gid: 5, Rdev: 6, Size: 7, Blksize: 8, Blocks: 9}
	st.Mtim.Sec = 11
	for _, a := range abis {
		if a.stat64 == nil {
			continue
		}
		b := a.stat64(&st)
		if len(b) != 96 && len(b) != 104 || binary.NativeEndian.Uint64(b[len(b)-8:]) != 1<<33 || b[16] != 2 || b[20] != 3 || b[32] != 6 {
			t.Errorf("%#x: got % x", a.audit, b)
		}
	}
}
