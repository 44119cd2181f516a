//go:build amd64 || arm64

package run

import "sync/atomic"

// lookUpsMost is how many look-ups may wait for file systems. Each holds a thread and some descriptors, also when its program
// was killed or has given up, until the server answers; a script that asks a dead server each second would use them all.
const lookUpsMost = 200

// lookUps counts those that wait.
type lookUps struct{ n atomic.Int32 }

// do has a goroutine of its own call f, which may wait for a file system. It is false where too many wait already: then the
// kernel has to perform the call, as if it had nothing to do with the port.
func (l *lookUps) do(f func()) bool {
	if l.n.Add(1) > lookUpsMost {
		l.n.Add(-1)
		return false
	}
	go func() { // ends when the file's server has answered, or is gone
		defer l.n.Add(-1)
		f()
	}()
	return true
}
