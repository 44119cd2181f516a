//go:build amd64 || arm64

package run_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart/uarttest"
)

// deadMount mounts a file system whose server does not answer, until end is called: then who waits for it goes on. A killed
// process does not end before.
func deadMount(t *testing.T) (mount string, end func()) {
	t.Helper()
	mount = own(t)
	server := exec.Command(fuseProgram(t), mount, "hang")
	out := &uarttest.Output{}
	server.Stdout, server.Stderr = out, out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		_ = unix.Unmount(mount, unix.MNT_DETACH)
	}
	t.Cleanup(end)
	eventually(t, "the file system is mounted", func() bool { return out.String() != "" })
	if out.String() != "mounted\n" {
		t.Fatal(out.String())
	}
	return mount, end
}

// TestLookUpsAreBounded: programs that look at a dead file system and are killed, one after the other, leave no more than a
// bounded number of threads.
func TestLookUpsAreBounded(t *testing.T) {
	mount, end := deadMount(t)
	defer end()
	address, _ := serve(t, "loopback")
	s := starts(t, "looked\n", "--as", "/dev/ttyS77", address, "--", "sh", "-c",
		`i=0; while test $i != 500; do (exec 3<"$1/$i") & kill -9 $!; i=$((i+1)); done; echo looked; read x`, "sh", mount)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	threads := 0
	_, text, _ := bytes.Cut(status, []byte("\nThreads:"))
	if _, err := fmt.Sscan(string(text), &threads); err != nil || threads > 300 {
		t.Errorf("%d threads, %v", threads, err)
	}
}

// TestAgentKilledInLookUp: where a thread of it waits for a dead file system, the kernel does not end a killed telnetcpc. The
// programs go on all the same.
func TestAgentKilledInLookUp(t *testing.T) {
	mount, end := deadMount(t)
	defer end()
	address, _ := serve(t, "loopback")
	s := starts(t, "ready\n", "--as", "/dev/ttyS77", address, "--", "sh", "-c",
		`: <"$1/file" & sleep 0.3; echo ready; while :; do sleep 0.1; : </dev/null; echo on; done`, "sh", mount)
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	before := strings.Count(s.out.String(), "on\n")
	eventually(t, "the program goes on", func() bool { return strings.Count(s.out.String(), "on\n") > before+10 })
}
