package serialport

import "fmt"

// lockedError reports that another program has a lock file for the port.
type lockedError struct {
	file string
	pid  int // 0: the file does not name one yet
}

func (e lockedError) Error() string { return fmt.Sprintf("%s belongs to process %d", e.file, e.pid) }

// lockedTTY is a tty with its lock files, which close removes.
type lockedTTY struct {
	tty
	locks lockFiles
}

func (t *lockedTTY) close() error {
	err := t.tty.close()
	t.locks.remove() // last: a program that finds the port unlocked must find it closed
	return err
}
