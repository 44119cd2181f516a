//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// localDevice makes a real file at a mapped path, as if it were a device of this machine. No program may reach it.
func localDevice(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(scratchDir(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ttyS0")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := os.ReadFile(path); err != nil || len(text) > 0 {
			t.Errorf("the machine's own device got %q (%v)", text, err)
		}
	})
	return path
}

// pathsProgram compiles the program of these tests.
func pathsProgram(t *testing.T, args ...string) string {
	t.Helper()
	return compile(t, "gcc", append(args, "-Wall", "-Wextra", "-Werror", "-pthread", "testdata/paths.c")...)
}

// TestPathLookups: a program finds the port by every path that leads there, as the kernel would resolve it for that
// program.
func TestPathLookups(t *testing.T) {
	t.Parallel()
	testPaths(t, pathsProgram(t))
}

// TestPathLookups32Bits: so does a 32-bit program, whose calls have other numbers.
func TestPathLookups32Bits(t *testing.T) {
	t.Parallel()
	need32Bits(t)
	testPaths(t, pathsProgram(t, "-m32"))
}

func testPaths(t *testing.T, program string) {
	for _, check := range []string{"links", "own links", "descriptors", "late", "flips", "chroots", "mounts"} {
		for _, device := range []string{"there", "not there"} {
			t.Run(check+", device "+device, func(t *testing.T) {
				if check == "chroots" || check == "mounts" {
					needUserNamespaces(t)
				}
				as := localDevice(t)
				if device == "not there" {
					as = filepath.Join(scratchDir(t), "ttyS77")
				}
				address, _ := startServer(t, "loopback")
				out, errs, status := runTelnetcpc(t, "-v", "--as", as, address, "--", program, as, scratchDir(t), check)
				if status != 0 || !strings.HasSuffix(out, "ok\n") {
					t.Errorf("status %d: %s\n%s", status, out, errs)
				}
			})
		}
	}
}

// TestServedByTree: a program of the tree serves a file system, and its own calls are answered while telnetcpc resolves
// a path there.
func TestServedByTree(t *testing.T) {
	needUserNamespaces(t)
	t.Setenv("TELNETCPC_TEST_FUSE", fuseDevice(t))
	program := pathsProgram(t)
	address, _ := startServer(t, "loopback")
	as := localDevice(t)
	for _, tt := range []struct {
		name         string
		outer, inner []string // where a new mount namespace begins
	}{
		{"the same mounts as telnetcpc", []string{"unshare", "--user", "--map-root-user", "--mount"}, nil},
		{"others", nil, []string{"unshare", "--user", "--map-root-user", "--mount"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			argv := append(slices.Clone(tt.outer), telnetcpc, "run", "--as", as)
			if tt.outer != nil {
				argv = append(argv, "--group", "0") // there is no group dialout
			}
			argv = append(argv, address, "--")
			argv = append(append(argv, tt.inner...), program, as, scratchDir(t), "served")
			cmd := unprivileged(exec.Command(argv[0], argv[1:]...))
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &unix.SysProcAttr{}
			}
			cmd.SysProcAttr.Setpgid = true
			over := time.AfterFunc(testenv.Patience, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
			out, err := cmd.CombinedOutput()
			if !over.Stop() || err != nil || !strings.HasSuffix(string(out), "ok\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// fuseDevice returns a FUSE device that unprivileged programs may open. Without udev /dev/fuse is root's alone, so root
// makes another node.
func fuseDevice(t *testing.T) string {
	t.Helper()
	device := "/dev/fuse"
	var st unix.Stat_t
	err := unix.Stat(device, &st)
	if err == nil && os.Geteuid() == 0 {
		device = filepath.Join(scratchDir(t), "fuse")
		if err = unix.Mknod(device, unix.S_IFCHR|0o666, int(st.Rdev)); err == nil {
			err = unix.Chmod(device, 0o666) // whatever the umask is
		}
	}
	if err != nil {
		skip(t, fmt.Sprintf("no FUSE here: %v", err))
	}
	open := unprivileged(exec.Command("sh", "-c", `exec 3<>"$0"`, device))
	if out, err := open.CombinedOutput(); err != nil {
		skip(t, fmt.Sprintf("nobody may use FUSE here: %v: %s", err, out))
	}
	return device
}

// TestOtherNumbers: a program in a PID namespace of its own finds its files in its own /proc.
func TestOtherNumbers(t *testing.T) {
	needUserNamespaces(t)
	namespaces := []string{"unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"}
	if out, err := unprivileged(exec.Command(namespaces[0], append(namespaces[1:], "true")...)).CombinedOutput(); err != nil {
		skip(t, fmt.Sprintf("an unprivileged user cannot mount /proc here: %v: %s", err, out))
	}
	program := pathsProgram(t)
	address, _ := startServer(t, "loopback")
	as := localDevice(t)
	args := append([]string{"--as", as, address, "--"}, namespaces...)
	out, errs, status := runTelnetcpc(t, append(args, program, as, scratchDir(t), "descriptors")...)
	if status != 0 || !strings.HasSuffix(out, "ok\n") {
		t.Errorf("status %d: %s\n%s", status, out, errs)
	}
}

// needUserNamespaces skips a test of roots and mounts if unprivileged users cannot make them.
func needUserNamespaces(t *testing.T) {
	t.Helper()
	if out, err := unprivileged(exec.Command("unshare", "--user", "--map-root-user", "--mount", "true")).CombinedOutput(); err != nil {
		skip(t, fmt.Sprintf("no unprivileged user namespaces here: %v: %s", err, out))
	}
}

// TestReceivedDescriptor: a program receives a descriptor of the port from a program that was not started by the host.
// The open is noticed before its first call is answered: what that does to DTR and RTS is not undone by a late inotify
// event.
func TestReceivedDescriptor(t *testing.T) {
	t.Parallel()
	program := pathsProgram(t)
	address, _ := startServer(t, "loopback")
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(scratchDir(t), "ttyV0")
	var out testenv.Output
	sent := make(chan error, 1)
	go func() { // ends with the program
		var b [1]byte
		for round := 0; ; round++ {
			if n, err := unix.Read(fds[0], b[:]); n != 1 {
				sent <- err
				return
			}
			// If a close and an open follow too soon, inotify's reader cannot tell that there were two.
			for strings.Count(out.String(), "up   closed") < round {
				time.Sleep(time.Millisecond)
			}
			fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY, 0)
			if err == nil {
				err = unix.Sendmsg(fds[0], b[:], unix.UnixRights(fd), nil, 0)
				_ = unix.Close(fd)
			}
			if err != nil {
				_ = unix.Shutdown(fds[0], unix.SHUT_RDWR)
				sent <- err
				return
			}
		}
	}()
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	cmd := unprivileged(exec.Command(telnetcpc, "run", "-v", "--port", path, address, "--", program, "/dev/ttyS77", scratchDir(t), "received"))
	cmd.Env = append(cmd.Env, "TELNETCPC_TEST_SOCKET=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = &out, &out
	over := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Kill() })
	err = cmd.Run()
	_ = theirs.Close()
	if !over.Stop() || err != nil || !strings.Contains(out.String(), "\nok\n") {
		t.Errorf("%v: %s", err, out.String())
	}
	_ = unix.Shutdown(fds[0], unix.SHUT_RDWR)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	_ = unix.Close(fds[0])
}

// TestGivenThroughLink: --as through a symbolic link to a directory maps both names.
func TestGivenThroughLink(t *testing.T) {
	as := localDevice(t)
	link := filepath.Join(scratchDir(t), "dev")
	if err := os.Symlink(filepath.Dir(as), link); err != nil {
		t.Fatal(err)
	}
	given := filepath.Join(link, filepath.Base(as))
	address, server := startServer(t, "loopback")
	_, errs, status := runTelnetcpc(t, "--as", given, address, "--", "sh", "-c", `echo one >"$1" && echo two >"$2"`, "sh", given, as)
	if status != 0 {
		t.Errorf("status %d: %s", status, errs)
	}
	serverLogs(t, server, "up=8")
}
