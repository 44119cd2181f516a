//go:build amd64 || arm64

package run_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"telnetcpc/bridge/interop/hosttest"
	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost/run"
)

// nobody is the uid of the programs in these tests: this host needs no privileges.
const nobody = 65534

func TestMain(m *testing.M) {
	run.Main()
	hosttest.Main()
	puppetMain()
	denyMain()
	_ = flag.Set("test.parallel", "6") // most tests wait; the command line can override it
	flag.Parse()
	os.Exit(runTests(m))
}

// dir is a directory to which the user nobody may write. In it, telnetcpc is the program, built with the race detector if this
// test has it, and self is this test's binary, both executable by that user.
var dir, telnetcpc, self string

func runTests(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "telnetcpc-run-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o777); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	telnetcpc = filepath.Join(dir, "telnetcpc")
	args := append(append([]string{"build"}, testenv.RaceFlags()...), "-o", telnetcpc, "telnetcpc/cmd/telnetcpc")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
		return 1
	}
	self = filepath.Join(dir, "test")
	if out, err := exec.Command("cp", fmt.Sprintf("/proc/%d/exe", os.Getpid()), self).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cp: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// unprivileged makes a command run as the user nobody if this test is root.
func unprivileged(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "GORACE=atexit_sleep_ms=0")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// scratchDir returns a new directory to which the user nobody may write.
func scratchDir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp(dir, "test")
	if err == nil {
		err = os.Chmod(d, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// skip reports why a test cannot run; in scripts/test that is a failure.
func skip(t *testing.T, why string) {
	t.Helper()
	testenv.Skip(t, why)
}
