//go:build !unix

package serialport

// locking keeps nothing.
type locking struct{}

// lockFiles are none: the system itself gives a port to one program at a time.
type lockFiles struct{}

func (s *Port) lock() (lockFiles, error) { return s.locking.take() }

func (locking) take() (lockFiles, error) { return lockFiles{}, nil }

func (lockFiles) remove() {}

func program(int) string { return "" }
