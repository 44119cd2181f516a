package vmtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// reopens opens its port again after telnetcpc has ended, by a path that is also a device of this machine, and prints what it
// got; then a child of it does.
const reopens = `
import os, sys
path = sys.argv[1]
fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
print("ready", flush=True)
try:
    os.read(fd, 1)
except OSError:
    pass
def again(who):
    try:
        os.open(path, os.O_RDWR)
        print(who, "has the machine's own", flush=True)
    except OSError as e:
        print(who, e.strerror, flush=True)
again("program:")
child = os.fork()
if child == 0:
    again("child:")
    os._exit(0)
os.waitpid(child, 0)
print("over", flush=True)
`

// checkYamaPaths: telnetcpc run is killed. Under ptrace_scope 1 its remaining process is no ancestor of the program. The program
// has allowed it to inspect the program; the program's children have not, and run reports that at the start.
func checkYamaPaths(t *testing.T) {
	const address = "127.0.0.1:3698"
	serveLoopback(t, address)
	dir, err := os.MkdirTemp("/tmp", "yama")
	if err != nil {
		t.Fatal(err)
	}
	program, local := filepath.Join(dir, "telnetcpc"), filepath.Join(dir, "ttyS0")
	text, err := os.ReadFile(telnetcpc())
	for _, err := range []error{err, os.Chmod(dir, 0o777), os.WriteFile(program, text, 0o755), os.WriteFile(local, nil, 0o666), os.Chmod(local, 0o666)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = os.WriteFile(yama, []byte("0"), 0) }()
	for _, tt := range []struct {
		scope, child string
		warns        bool
	}{{"0", "No such file or directory", false}, {"1", "has the machine's own", true}} {
		if err := os.WriteFile(yama, []byte(tt.scope), 0); err != nil {
			t.Fatal(err)
		}
		out, errs := filepath.Join(dir, "out"+tt.scope), &bytes.Buffer{}
		said := func(what string) {
			t.Helper()
			for end := time.Now().Add(testenv.Patience); ; time.Sleep(10 * time.Millisecond) {
				text, _ := os.ReadFile(out)
				if strings.Contains(string(text), what) {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("ptrace_scope %s: the program does not say %q: %s", tt.scope, what, text)
				}
			}
		}
		file, err := os.Create(out)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "run", "--as", local, address, "--", "/usr/bin/python3", "-c", reopens, local)
		cmd.Env = append(os.Environ(), "HOME=/", "TMPDIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = file, errs, time.Second
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said("ready\n")
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		said("over\n")
		_ = file.Close()
		text, _ := os.ReadFile(out)
		for _, want := range []string{"program: No such file or directory\n", "child: " + tt.child + "\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("ptrace_scope %s: want %q:\n%s\n%s", tt.scope, want, text, errs)
			}
		}
		if warned := strings.Contains(errs.String(), "kernel.yama.ptrace_scope is 1: if telnetcpc is killed"); warned != tt.warns {
			t.Errorf("ptrace_scope %s: warned: %v: %s", tt.scope, warned, errs)
		}
	}
}
