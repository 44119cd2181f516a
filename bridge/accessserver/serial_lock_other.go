//go:build !unix

package accessserver

// locking is nothing.
type locking struct{}

// lockFiles are none: the system itself gives a port to one program at a time.
type lockFiles struct{}

func (s *Serial) lock() (lockFiles, error) { return lockFiles{}, nil }

func (lockFiles) remove() {}

func program(int) string { return "" }
