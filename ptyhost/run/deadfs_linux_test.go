//go:build amd64 || arm64

package run_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// deadMount mounts a file system whose server does not answer until end is called. Until then even a killed process
// that waits for it does not end.
func deadMount(t *testing.T) (mount string, end func()) {
	t.Helper()
	mount = scratchDir(t)
	server := exec.Command(fuseProgram(t), mount, "hang")
	out := &testenv.Output{}
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

// TestLookUpsAreBounded: however many programs wait for a dead file system, or have waited and were killed, only a
// limited number of telnetcpc's threads do.
func TestLookUpsAreBounded(t *testing.T) {
	t.Parallel()
	mount, end := deadMount(t)
	defer end()
	const programs = 400
	address, _ := startServer(t, "loopback")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := startTelnetcpcStdin(t, r, "started ", "--as", "/dev/ttyS77", address, "--", "sh", "-c",
		`i=0; while test $i != $2; do (exec 3<"$1/$i") & i=$((i+1)); done; echo started $$; read x; : </dev/null; echo looked; wait`,
		"sh", mount, strconv.Itoa(programs))
	_ = r.Close()
	pid := 0
	eventually(t, "it prints its pid", func() bool { _, err := fmt.Sscanf(s.out.String(), "started %d\n", &pid); return err == nil })
	eventually(t, "all programs wait", func() bool {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		waiting := 0
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil && strings.Contains("SD", state(n)) {
				waiting++
			}
		}
		return waiting == programs
	})
	_ = w.Close() // its next call comes after all of theirs
	eventually(t, "telnetcpc has handled it", func() bool { return strings.Contains(s.out.String(), "looked") })
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	threads := 0
	_, text, _ := bytes.Cut(status, []byte("\nThreads:"))
	if _, err := fmt.Sscan(string(text), &threads); err != nil || threads > programs*3/4 {
		t.Errorf("telnetcpc has %d threads for %d programs that wait, %v", threads, programs, err)
	}
}

// TestAgentKilledInLookUp: telnetcpc is killed, but does not end because one of its threads waits for a dead file
// system. The programs continue nevertheless.
func TestAgentKilledInLookUp(t *testing.T) {
	t.Parallel()
	mount, end := deadMount(t)
	defer end()
	address, _ := startServer(t, "loopback")
	s := startTelnetcpc(t, "ready\n", "--as", "/dev/ttyS77", address, "--", "sh", "-c",
		`: <"$1/file" & sleep 0.3; echo ready; while :; do sleep 0.1; : </dev/null; echo on; done`, "sh", mount)
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	before := strings.Count(s.out.String(), "on\n")
	eventually(t, "the program continues", func() bool { return strings.Count(s.out.String(), "on\n") > before+10 })
}
