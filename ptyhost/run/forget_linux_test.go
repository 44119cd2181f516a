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

// TestForgottenPort: DCD falls while the port is being closed, so it goes on with another pty. When it is closed the host
// knows neither: their numbers are other terminals' then.
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
	// Its claim is released when nobody looks any more who opens the slave, as the watcher process does for it.
	time.Sleep(50 * time.Millisecond) // too short only makes this see less
	if _, err := os.Lstat(path); err != nil {
		t.Error("the claim is released before the end of the port is noted:", err)
	}
	p.mu.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if p, _, slave := h.current(); len(h.ports) != 0 || p != nil || slave != (fileID{}) {
		t.Errorf("the host knows %v, and as the port %v, %v", h.ports, p, slave)
	}
}
