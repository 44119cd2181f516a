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

// nobody is who the programs of these tests are: this host needs no privileges.
const nobody = 65534

func TestMain(m *testing.M) {
	run.Main()
	hosttest.Main()
	puppetMain()
	denyMain()
	_ = flag.Set("test.parallel", "6") // most tests wait; a command line has the last word
	flag.Parse()
	os.Exit(runTests(m))
}

// dir is a directory that nobody may write to; telnetcpc is the program as it is built, with the race detector where this
// test has it; self is this test, where nobody may execute it.
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

// unprivileged makes a command one of nobody, where this test is root.
func unprivileged(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "GORACE=atexit_sleep_ms=0")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// own is a new directory that nobody may write to.
func own(t *testing.T) string {
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

// skip says why a test cannot run; in scripts/test that is a failure.
func skip(t *testing.T, why string) {
	t.Helper()
	testenv.Skip(t, why)
}
