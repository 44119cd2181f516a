package devpath_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"telnetcpc/ptyhost/devpath"
)

// A program that opens the path while it is led to another device finds one or the other.
func TestPathIsAlwaysThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	c, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	devices := []string{"/dev/pts/70001", "/dev/pts/70002"}
	if err := c.Link(devices[0], -1); err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	looked := make(chan int)
	go func() { // ends with over
		n := 0
		for ; !over.Load(); n++ {
			if _, err := os.Readlink(path); err != nil {
				t.Error(err)
				break
			}
		}
		looked <- n
	}()
	for i := range 5000 {
		if err := c.Relink(devices[(i+1)%2], -1); err != nil {
			t.Error(err)
			break
		}
	}
	over.Store(true)
	if n := <-looked; n == 0 {
		t.Error("nobody has looked")
	}
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// What somebody has put in the place of the link stays.
func TestRelinkLeavesOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	c, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if err := c.Link("/dev/pts/70001", -1); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Relink("/dev/pts/70002", -1); err == nil {
		t.Error("it says that the path leads to the device")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file has %q: %v", text, err)
	}
}
