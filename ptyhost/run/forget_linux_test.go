//go:build amd64 || arm64

package run

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
)

// TestForgottenPort: DCD falls while the port is being closed, so it switches to another pty. After Close the host
// knows neither: their numbers may be other terminals' then.
func TestForgottenPort(t *testing.T) {
	h, err := New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ttyV0")
	opened, err := h.Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	p := opened.(*port)
	p.mu.Lock()
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	for h.hasInode(p.id.inode) {
		time.Sleep(time.Millisecond)
	}
	p.hangUp()
	// The claim must be released only when nobody checks who opens the slave any more, because the watcher process
	// opens it.
	time.Sleep(50 * time.Millisecond) // if too short, the test only sees less
	if _, err := os.Lstat(path); err != nil {
		t.Error("the claim was released before the port was marked as closed:", err)
	}
	p.mu.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if p, _, slave := h.current(); len(h.ports) != 0 || p != nil || slave != (fileID{}) {
		t.Errorf("the host knows %v, and as the port %v, %v", h.ports, p, slave)
	}
}
