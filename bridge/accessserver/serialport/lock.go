package serialport

import "fmt"

// lockedError says that another program has a lock file of the port.
type lockedError struct {
	file string
	pid  int // 0: the file does not say yet
}

func (e lockedError) Error() string { return fmt.Sprintf("%s is of process %d", e.file, e.pid) }

// locked is a tty with the lock files that are held for it.
type locked struct {
	tty
	locks lockFiles
}

func (t *locked) close() error {
	err := t.tty.close()
	t.locks.remove() // last: who finds the port unlocked finds it closed
	return err
}
