//go:build !unix

package serialport

// Systems that are not Unix have no lock files: they let one program at a time open a port.

type locking struct{}

type lockFiles struct{}

func (s *Port) lock() (lockFiles, error) { return s.locking.take() }

func (locking) take() (lockFiles, error) { return lockFiles{}, nil }

func (lockFiles) remove() {}

func programOf(int) string { return "" }
