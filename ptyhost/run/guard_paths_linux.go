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

// What the guard does with paths when the other process is gone. A path that was the port is nothing then, for as long as
// the programs live: this machine may have a device of its own there, and the number of the port's pty may be another
// terminal's by now. What a program wrote for its device would go there without a word.

// aftermath answers the calls that nobody else answers any more.
type aftermath struct {
	l     *listener
	held  *held // nil: there is none
	names *names
	slave fileID // that was the port's: another terminal may have its number by now

	lookUps lookUps
}

// words is what a guard is told of the port's names, in its arguments.
func (h *Host) words() []string {
	_, n, _ := h.led()
	return slices.Concat([]string{strconv.Itoa(len(n.own))}, n.own, n.as)
}

// newAftermath takes the words, and what the other process has left in the memory; nil: nothing.
func newAftermath(l *listener, words []string, left *books) *aftermath {
	a := &aftermath{l: l, names: newNames(nil, nil)}
	if left != nil {
		a.held = &left.held
		a.slave = fileID{a.held.device.Load(), a.held.inode.Load()}
	}
	if len(words) > 0 {
		if own, err := strconv.Atoi(words[0]); err == nil && own >= 0 && own < len(words) {
			a.names = newNames(words[1+own:], words[1:1+own])
		}
	}
	return a
}

// answer answers a call. It has one caller. What may wait for a file system has a goroutine of its own, which ends with the look-up. A program
// whose memory cannot be read gets what the kernel finds.
func (a *aftermath) answer(n notification) {
	c := &call{l: a.l, abi: abiOf(n.Data.Arch), n: n}
	e, known := c.entry()
	if !known || e.kind == kindIoctl {
		c.proceed()
		return
	}
	asked, err := c.asks(e)
	if err != nil {
		c.proceed()
		return
	}
	asked.names = a.names
	if asked.opens() {
		if path.Base(asked.text) == "ptmx" { // the program makes a terminal of its own: the number may be that one's
			a.slave = fileID{}
		}
		asked.slave = a.slave
	}
	if d, sure := asked.quick(); sure {
		d.conclude(c, asked)
		return
	}
	if !a.lookUps.do(func() { asked.walk().conclude(c, asked) }) {
		c.proceed()
	}
}

// conclude answers a call whose path leads there.
func (d destination) conclude(c *call, a asked) {
	if d.place == mapped || d.place == here && a.opens() {
		c.fail(unix.ENOENT)
		return
	}
	c.proceed()
}

// take answers a call that the other process had received when it went. Of n the id alone may be known.
func (a *aftermath) take(n notification) {
	switch kept := a.held.find(n.ID); {
	case kept == nil:
		a.answer(n)
	case kept.ours.Load() == n.ID:
		(&call{l: a.l, n: kept.call}).fail(unix.ENOENT)
	default:
		a.answer(kept.call)
	}
}

// held are calls with paths that were received and could not be answered at once, in memory that the guard shares: an open
// waits for the session or the carrier, a look-up for a file system. There is room for more than are likely to wait.
type held struct {
	calls         [512]heldCall
	device, inode atomic.Uint64 // of the port's slave
}

type heldCall struct {
	id   atomic.Uint64 // 0: free; beingNoted; the rest is there before it
	ours atomic.Uint64 // id, where it leads to the port
	call notification
}

// beingNoted is the id of an entry that a goroutine writes.
const beingNoted = ^uint64(0)

// note notes a call. What it returns may be nil: there is no room, or nobody asks. A goroutine that was relieved notes its
// call at the same time as another.
func (h *held) note(c *call) *heldCall {
	if h == nil {
		return nil
	}
	for i := range h.calls {
		kept := &h.calls[i]
		id := kept.id.Load()
		if id == beingNoted || id != 0 && c.l.valid(id) || !kept.id.CompareAndSwap(id, beingNoted) {
			continue
		}
		kept.call = c.n
		kept.id.Store(c.n.ID)
		return kept
	}
	return nil
}

// leadsHere notes that a call leads to the port. Its entry may be another's by now, where the call was interrupted.
func (k *heldCall) leadsHere(id uint64) {
	if k != nil && k.id.Load() == id {
		k.ours.Store(id)
	}
}

// find finds a call by its id; nil: it was not noted.
func (h *held) find(id uint64) *heldCall {
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

// addGuard makes known what is shared with a guard, for the life of this process.
func (h *Host) addGuard(shared *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guards = append(h.guards, shared)
	h.tellGuards()
}

// tellGuards tells every guard which slave is the port's; the lock of the host is held.
func (h *Host) tellGuards() {
	for _, told := range h.guards {
		told.device.Store(h.slave.device)
		told.inode.Store(h.slave.inode)
	}
}

// Where Yama is set so (ptrace_scope 1), only an ancestor may read a program's memory, and the guard is none. A process may
// admit one other to itself: this holds over an exec by its first thread, but not for the processes that it starts.

// init keeps a stage on its first thread.
func init() {
	if len(os.Args) > 0 && os.Args[0] == stageName {
		runtime.LockOSThread()
	}
}

// admit lets a guard read the memory of what this process becomes. Without Yama it fails, and need not be done.
func admit(guard int) { _ = unix.Prctl(unix.PR_SET_PTRACER, uintptr(guard), 0, 0, 0) }

// afterwards is what a user should know of the time after this process's end; empty: nothing.
func (f facts) afterwards(as []string) string {
	if f.scope != 1 || len(as) == 0 || os.Geteuid() == 0 {
		return ""
	}
	return "kernel.yama.ptrace_scope is 1: should telnetcpc be killed, the programs that this program starts find this machine's own device at the --as paths (to change that: sysctl kernel.yama.ptrace_scope=0)"
}
