//go:build !windows

package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// demoPort returns the path of the demonstration's port, in a new directory that remove deletes.
func demoPort() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "telnetcpc-demo-")
	if err != nil {
		return "", nil, fmt.Errorf("no directory for the port: %w (--port PATH names another place)", err)
	}
	return filepath.Join(dir, "ttyV0"), func() { _ = os.RemoveAll(dir) }, nil
}
