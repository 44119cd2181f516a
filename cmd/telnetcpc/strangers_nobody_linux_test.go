package main

import (
	"strings"
	"syscall"
	"testing"
)

// TestNobodyOpens: an agent sees no open that nobody makes, though it starts a process of its own.
func TestNobodyOpens(t *testing.T) {
	t.Parallel()
	for range 20 {
		a := startAgent(t, "pty", nil)
		a.until("the port is told", func() bool { return strings.Contains(a.said.String(), "port ready") })
		a.signal(syscall.SIGTERM)
		a.ends()
		if strings.Contains(a.said.String(), "port opened") {
			t.Fatal("it has seen an open")
		}
	}
}
