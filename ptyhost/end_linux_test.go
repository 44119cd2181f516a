package ptyhost

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
)

// TestEndIsNotedFirst: when a port is closed its claim is released when nobody looks any more who opens the slave: the watcher
// process does, and that is no visit.
func TestEndIsNotedFirst(t *testing.T) {
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
		t.Error("the claim is released before the end of the port is noted:", err)
	}
	p.mu.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
