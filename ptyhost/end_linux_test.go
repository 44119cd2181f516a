package ptyhost

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
)

// Close releases the claim only after the port has stopped reporting opens: the watcher process opens the slave then, and that
// is no program's open.
func TestCloseIsNotedFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	opened, err := New().Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	p := opened.(*port)
	p.mu.Lock()
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	time.Sleep(50 * time.Millisecond) // too short only makes this see less
	if _, err := os.Lstat(path); err != nil {
		t.Error("the claim is released before the close is noted:", err)
	}
	p.mu.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
