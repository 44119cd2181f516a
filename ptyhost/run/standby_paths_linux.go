//go:build amd64 || arm64

package run

import (
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// What the standby does with paths when its parent is gone. The paths that were the port fail with ENOENT as long as
// the programs live: this machine may have a device of its own there, and the number of the port's pty may be another
// terminal's by now. A program would write to it what was meant for its own device.

// takeover is the state of a standby that answers the calls.
type takeover struct {
	l      *listener
	shared *pathCallTable // nil if there is none
	names  *names
	slave  fileID // of the last port; zero: another terminal may have its number by now

	lookups lookups
}

// standbyNames returns the port's names as arguments of a standby.
func (h *Host) standbyNames() []string {
	_, n, _ := h.current()
	return slices.Concat([]string{strconv.Itoa(len(n.own))}, n.own, n.as)
}

// newTakeover parses standbyNames, and reads what the parent has left in the shared memory; left may be nil.
func newTakeover(l *listener, words []string, left *sharedCalls) *takeover {
	t := &takeover{l: l, names: newNames(nil, nil)}
	if left != nil {
		t.shared = &left.paths
		t.slave = fileID{t.shared.device.Load(), t.shared.inode.Load()}
	}
	if len(words) > 0 {
		if own, err := strconv.Atoi(words[0]); err == nil && own >= 0 && own < len(words) {
			t.names = newNames(words[1+own:], words[1:1+own])
		}
	}
	return t
}

// handle answers a call. It has one caller. A lookup that may block runs in a goroutine of its own. If a program's
// memory cannot be read, the kernel performs its call.
func (t *takeover) handle(n notification) {
	c := &call{l: t.l, abi: abiOf(n.Data.Arch), n: n}
	e, known := c.entry()
	if !known || e.kind == kindIoctl {
		c.continueInKernel()
		return
	}
	a, err := c.readPathCall(e)
	if err != nil {
		c.continueInKernel()
		return
	}
	a.names = t.names
	if a.opens() {
		if path.Base(a.pathname) == "ptmx" { // the program makes a pty, which may get the number of the port's
			t.slave = fileID{}
		}
		a.slave = t.slave
	}
	if d, sure := a.resolveFast(); sure {
		d.finishTakeover(c, a)
		return
	}
	if !t.lookups.start(func() { a.resolve().finishTakeover(c, a) }) {
		c.continueInKernel()
	}
}

// finishTakeover answers a call whose path leads to d.
func (d destination) finishTakeover(c *call, a pathCall) {
	if d.place == mappedPath || d.place == portNode && a.opens() {
		c.fail(unix.ENOENT)
		return
	}
	c.continueInKernel()
}

// handlePending answers a call that the parent had received. Only the ID of n may be known.
func (t *takeover) handlePending(n notification) {
	switch entry := t.shared.find(n.ID); {
	case entry == nil:
		t.handle(n)
	case entry.onPort.Load() == n.ID:
		(&call{l: t.l, n: entry.call}).fail(unix.ENOENT)
	default:
		t.handle(entry.call)
	}
}

// pathCallTable holds the calls with paths that were received and could not be answered at once, in memory shared with
// the standby: an open that waits for the session or the carrier, a lookup that waits for a file system. It has room
// for more than are likely to wait.
type pathCallTable struct {
	calls         [512]pathCallEntry
	device, inode atomic.Uint64 // of the port's slave
}

type pathCallEntry struct {
	id     atomic.Uint64 // 0: free; entryBusy: being written; else call is valid
	onPort atomic.Uint64 // id if the path leads to the port
	call   notification
}

// entryBusy is the id of an entry while it is written.
const entryBusy = ^uint64(0)

// add adds a call. It returns nil if the table is full or nil. Several goroutines may add at once: a receiver that was
// replaced finishes its call while the next one works.
func (h *pathCallTable) add(c *call) *pathCallEntry {
	if h == nil {
		return nil
	}
	for i := range h.calls {
		entry := &h.calls[i]
		id := entry.id.Load()
		if id == entryBusy || id != 0 && c.l.valid(id) || !entry.id.CompareAndSwap(id, entryBusy) {
			continue
		}
		entry.call = c.n
		entry.id.Store(c.n.ID)
		return entry
	}
	return nil
}

// setOnPort records that the call's path leads to the port. If the call was interrupted, its entry may be another
// call's.
func (k *pathCallEntry) setOnPort(id uint64) {
	if k != nil && k.id.Load() == id {
		k.onPort.Store(id)
	}
}

// find returns the entry of a call; nil if there is none.
func (h *pathCallTable) find(id uint64) *pathCallEntry {
	if h == nil {
		return nil
	}
	for i := range h.calls {
		if h.calls[i].id.Load() == id {
			return &h.calls[i]
		}
	}
	return nil
}

// addShared adds the table of a standby, until this process ends.
func (h *Host) addShared(shared *pathCallTable) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shared = append(h.shared, shared)
	h.publishSlave()
}

// publishSlave writes the port's slave into the memory of every standby; h.mu is held.
func (h *Host) publishSlave() {
	for _, told := range h.shared {
		told.device.Store(h.slave.device)
		told.inode.Store(h.slave.inode)
	}
}

// With Yama's ptrace_scope 1 only an ancestor may read a program's memory, and the standby is none. A process may allow
// one other process to do so (PR_SET_PTRACER). This survives an exec by the process's first thread, but its children do
// not inherit it.

// init keeps a launcher on its first thread.
func init() {
	if len(os.Args) > 0 && os.Args[0] == launcherName {
		runtime.LockOSThread()
	}
}

// allowPtrace allows a standby to read the memory of the program that this process becomes. Without Yama it fails, and
// is not needed.
func allowPtrace(guard int) { _ = unix.Prctl(unix.PR_SET_PTRACER, uintptr(guard), 0, 0, 0) }

// yamaWarning tells the user what --as cannot do should this process be killed; empty if there is nothing to say.
func (f capabilities) yamaWarning(as []string) string {
	if f.ptraceScope != 1 || len(as) == 0 || os.Geteuid() == 0 {
		return ""
	}
	return "kernel.yama.ptrace_scope is 1: if telnetcpc is killed, the children of this program find this machine's own device at the --as paths (to change that: sysctl kernel.yama.ptrace_scope=0)"
}
