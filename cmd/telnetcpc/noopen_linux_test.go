package main

import (
	"strings"
	"syscall"
	"testing"
)

// An agent whose port no program opens reports no open, although the agent starts a process itself.
func TestNobodyOpens(t *testing.T) {
	t.Parallel()
	for range 20 {
		a := startAgent(t, "pty", nil)
		a.until("the port is ready", func() bool { return strings.Contains(a.output.String(), "port ready") })
		a.signal(syscall.SIGTERM)
		a.ends()
		if strings.Contains(a.output.String(), "port opened") {
			t.Fatal("it has seen an open")
		}
	}
}
