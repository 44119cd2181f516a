//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// runAsRoot is runTelnetcpc as root, for programs that mount.
func runAsRoot(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs testenv.Output
	cmd := exec.Command(telnetcpc, append([]string{"run"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, &out, &errs, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	if !over.Stop() {
		t.Errorf("%v has not ended in %v", cmd, testenv.Patience)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// needMounts skips a test that mounts if that is impossible.
func needMounts(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "only root may mount")
	}
	probe := scratchDir(t)
	if err := unix.Mount("test", probe, "tmpfs", 0, ""); err != nil {
		skip(t, fmt.Sprintf("nothing can be mounted here: %v", err))
	}
	_ = unix.Unmount(probe, unix.MNT_DETACH)
}

// fuseProgram builds the file server.
func fuseProgram(t *testing.T) string {
	t.Helper()
	needMounts(t)
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		skip(t, fmt.Sprintf("no FUSE here: %v", err))
	} else {
		_ = f.Close()
	}
	program := filepath.Join(scratchDir(t), "fuse")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/fuse").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// TestFileSystemOfProgram: a file system that is served by one of the programs stops neither them nor their port.
func TestFileSystemOfProgram(t *testing.T) {
	t.Parallel()
	program := fuseProgram(t)
	mount := scratchDir(t)
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_FORCE|unix.MNT_DETACH) })
	address, _ := startServer(t, "loopback")
	unmount := time.AfterFunc(testenv.Patience/2, func() { _ = unix.Unmount(mount, unix.MNT_FORCE) }) // ends what is stuck
	defer unmount.Stop()
	out, errs, status := runAsRoot(t, "--as", "/dev/ttyS77", address, "--", program, mount, "/dev/ttyS77")
	if status != 0 || !strings.HasSuffix(out, "ok\n") {
		t.Errorf("status %d: %s\n%s", status, out, errs)
	}
}

// TestSlaveElsewhere: a program has a whole port wherever it finds the slave: through a bind mount of the file or the
// directory, in its own mount namespace, from a chroot.
func TestSlaveElsewhere(t *testing.T) {
	t.Parallel()
	needMounts(t)
	for _, tt := range []struct{ name, script string }{
		{"file", `mount --bind "$slave" "$dir/file"; look "$dir/file"`},
		{"directory", `mkdir "$dir/pts"; mount --bind /dev/pts "$dir/pts"; look "$dir/pts/${slave##*/}"`},
		{"chroot", `mkdir "$dir/root"; mount --bind / "$dir/root"; mount --bind /dev/pts "$dir/root/dev/pts"; look "$slave" chroot "$dir/root"`},
		{"inherited", `mount --bind "$slave" "$dir/file"; exec 3<>"$dir/file"; umount -l "$dir/file"; stty 4800 cs7 parenb <&3; stty <&3`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, server := startServer(t, "loopback")
			d := scratchDir(t)
			if err := os.WriteFile(filepath.Join(d, "file"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
			_, errs, status := runAsRoot(t, address, "--", "unshare", "-m", "sh", "-ec",
				`dir=$1; slave=$(readlink -f "$TELNETCPC_PORT"); mount --make-rprivate /
				look() { at=$1; shift; "$@" sh -ec 'exec 3<>"$1"; stty 4800 cs7 parenb <&3' sh "$at"; }
				`+tt.script, "sh", d)
			if status != 0 {
				t.Errorf("status %d: %s", status, errs)
			}
			serverLogs(t, server, `coding="4800 7E1"`)
		})
	}
}
