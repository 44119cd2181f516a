//go:build amd64 || arm64

package run

import (
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEndsOfChildren: every child is reaped, even one that is started just when the last one has ended.
func TestEndsOfChildren(t *testing.T) {
	if os.Getenv(childrenVariable) == "" { // this process must have no other children
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		attr := &syscall.ProcAttr{Env: append(os.Environ(), childrenVariable+"=1"), Files: []uintptr{0, 1, 2}}
		pid, err := syscall.ForkExec(self, []string{self, "-test.run=^TestEndsOfChildren$", "-test.timeout=60s"}, attr)
		if err != nil {
			t.Fatal(err)
		}
		if ws := waitPID(pid); ws.ExitStatus() != 0 {
			t.Errorf("status %d", ws.ExitStatus())
		}
		return
	}
	var c children
	if err := c.adoptOrphans(); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		_, end, err := c.start([]string{standbyName, "nothing", "nothing"}, &syscall.ProcAttr{Env: os.Environ()})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case ws := <-end:
			if ws.ExitStatus() != exitHelper {
				t.Fatalf("child %d: status %d", i, ws.ExitStatus())
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("child %d was not reaped", i)
		}
	}
}

// childrenVariable makes this test do its work.
const childrenVariable = "TELNETCPC_TEST_CHILDREN"

// TestSharedCalls: a standby finds a call that was received before it is in the table, and however many calls are
// pending.
func TestSharedCalls(t *testing.T) {
	memory, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memory)
	ours, err := mapSharedCalls(memory)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := mapSharedCalls(memory)
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(-1)
	l.shareWith(ours)
	const waiting = 5000
	for id := uint64(1); id <= waiting; id++ {
		l.ids.add(id)
	}
	l.buf[0] = waiting + 1 // as the kernel writes it
	found := map[uint64]bool{}
	for n := range theirs.pending {
		found[n.ID] = true
	}
	if len(found) != waiting+1 || !found[waiting+1] {
		t.Errorf("%d calls were found, want %d", len(found), waiting+1)
	}
	for id := uint64(1); id <= waiting; id++ {
		l.ids.remove(id)
	}
	for n := range theirs.pending {
		if n.ID <= waiting {
			t.Fatalf("call %d is found after its answer", n.ID)
		}
	}
}

// TestDevptsMount: a mount is found, and whether it is a devpts.
func TestDevptsMount(t *testing.T) {
	const table = "22 1 0:21 / /proc rw,relatime shared:5 - proc proc rw\n" +
		"25 24 0:23 / /srv/chroot/dev/pts rw,nosuid - devpts devpts rw,gid=5,mode=620,ptmxmode=000\n" +
		"256 24 0:50 / /mnt/a\\040-\\040devpts rw shared:9 master:1 - fuse.sshfs you@there rw\n"
	for _, tt := range []struct {
		mount  string
		device uint64
		ok     bool
	}{
		{"25", unix.Mkdev(0, 23), true}, {"22", 0, true}, {"256", 0, true}, {"2", 0, false}, {"", 0, false},
	} {
		if device, ok := devptsMount([]byte(table), tt.mount); device != tt.device || ok != tt.ok {
			t.Errorf("mount %s: got %#x, %v, want %#x, %v", tt.mount, device, ok, tt.device, tt.ok)
		}
	}
}
