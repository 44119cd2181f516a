//go:build amd64 || arm64

package run

import "sync/atomic"

// maxLookups is how many path lookups may block at once. Each holds a thread and some descriptors until the file server
// answers, even if its program has been killed or has given up. A script that accesses a dead server every second would
// use all of them up.
const maxLookups = 200

// lookups counts the lookups in progress that may block.
type lookups struct{ running atomic.Int32 }

// start calls f, which may block on a file system, in a goroutine of its own. It returns false if too many lookups are
// in progress: the kernel has to perform the call then, as if it had nothing to do with the port.
func (l *lookups) start(f func()) bool {
	if l.running.Add(1) > maxLookups {
		l.running.Add(-1)
		return false
	}
	go func() { // ends when the file server answers or is gone
		defer l.running.Add(-1)
		f()
	}()
	return true
}
