//go:build linux || darwin || freebsd

package devpath

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// watcherPatience is how long the watcher may take for a message, which is some microseconds' work. After that it counts
	// as stopped: it is killed and another one started.
	watcherPatience = 5 * time.Second
	// healthyAfter is how long a watcher must live to count as healthy; after maxFailures in a row that did not, no other one
	// is started.
	healthyAfter = time.Minute
	maxFailures  = 3
	// stopPatience is how long Stop waits for the watcher to end.
	stopPatience = time.Second
)

// watching is this process's watcher. It is a package variable because a process has one, however many hosts it has.
var watching = watch{socket: -1, hungUp: -1, links: map[uint64]link{}}

// watch is the agent's side of the watcher process. It is not on any port's data path: it is used when a link is made, and
// when it is removed.
type watch struct {
	mu    sync.Mutex // guards links and last; held over nothing that waits
	links map[uint64]link
	last  uint64

	// talk guards everything below and serialises what is sent to the watcher. It is held for watcherPatience at most.
	talk     sync.Mutex
	able     bool // this binary can be the watcher: it calls Main
	disabled bool // no other one is started
	process  *os.Process
	ended    chan struct{} // closed when process has ended
	socket   int           // -1: none
	hungUp   int           // the reading end of a pipe that ends when all ptys are hung up
	started  time.Time
	failures int // watchers in a row that ended before healthyAfter
}

// add notes a link that is about to be made, and notifies the watcher, which is started for the first one. It returns the
// link's number. The master must stay open until drop has returned.
func (w *watch) add(h link) uint64 {
	w.mu.Lock()
	w.last++
	id := w.last
	w.links[id] = h
	w.mu.Unlock()
	w.notify(opMade, id, h)
	return id
}

// ready starts the watcher, if there is none, before a port is made: until a new process executes its program, it has copies of
// all descriptors, also of a pty's slave, and the port would look open.
func (w *watch) ready() {
	w.talk.Lock()
	report := nothing
	if w.process == nil {
		report = w.start()
	}
	w.talk.Unlock()
	report()
}

// drop removes a link; number 0 means none. For opClosed and opRetired it returns only after the watcher has closed its
// duplicate of the link's master, or has ended.
func (w *watch) drop(id uint64, why op) {
	if id == 0 {
		return
	}
	w.mu.Lock()
	delete(w.links, id)
	w.mu.Unlock()
	w.notify(why, id, link{master: -1})
}

// notify sends a message to the watcher, and starts one if there are links and there is none. It logs after the lock is
// released.
func (w *watch) notify(what op, id uint64, h link) {
	w.talk.Lock()
	report := nothing
	switch {
	case w.process == nil && what == opMade:
		report = w.start()
	case w.process != nil:
		err := send(w.socket, what, id, h)
		if err == nil && (what == opClosed || what == opRetired) {
			err = awaitAnswer(w.socket, id)
		}
		if err != nil {
			report = w.replace(err)
		}
	}
	w.talk.Unlock()
	report()
}

func nothing() {}

// replace ends a watcher that does not answer, and starts another; the caller holds talk. It kills it first, because the end of its
// socket would mean to it that this process has died. Like the functions below it returns what to log after the lock is
// released.
func (w *watch) replace(why error) (report func()) {
	_ = w.process.Kill()
	<-w.ended
	return w.again(fmt.Errorf("it did not answer: %w", why))
}

// again starts another watcher after one has ended; the caller holds talk.
func (w *watch) again(why error) (report func()) {
	w.forget()
	if time.Since(w.started) >= healthyAfter {
		w.failures = 0
	}
	w.failures++
	switch {
	case w.failures > maxFailures:
		return w.giveUp(why)
	case !w.needed():
		return nothing
	}
	started := w.start()
	if w.failures > 1 {
		return started
	}
	return func() {
		slog.Default().Warn("the watcher process has ended; starting another", "why", why)
		started()
	}
}

// forget closes the descriptors that lead to a watcher; the caller holds talk.
func (w *watch) forget() {
	_ = unix.Close(w.socket)
	_ = unix.Close(w.hungUp)
	w.socket, w.hungUp, w.process = -1, -1, nil
}

// needed reports whether there are links to watch.
func (w *watch) needed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.links) > 0
}

// giveUp disables the watcher; the caller holds talk.
func (w *watch) giveUp(why error) (report func()) {
	w.disabled = true
	return func() {
		slog.Default().Warn("no watcher process: if this process is killed, its ports' links stay until its next start", "why", why)
	}
}

// start starts the watcher, if this binary can be it, and sends it all links; the caller holds talk.
func (w *watch) start() (report func()) {
	if !w.able || w.disabled {
		return nothing
	}
	ours, theirs, err := newWire()
	if err != nil {
		return w.giveUp(err)
	}
	process, hungUp, err := startWatcher(theirs)
	if err != nil {
		_ = unix.Close(ours)
		return w.giveUp(err)
	}
	w.process, w.socket, w.hungUp, w.started, w.ended = process, ours, hungUp, time.Now(), make(chan struct{})
	go w.reap(process, w.ended)
	w.mu.Lock()
	all := make(map[uint64]link, len(w.links))
	for id, h := range w.links {
		all[id] = h
	}
	w.mu.Unlock()
	for id, h := range all { // their masters are open: drop waits for the lock
		if err := send(w.socket, opMade, id, h); err != nil {
			return w.replace(err)
		}
	}
	return nothing
}

// reap waits for the end of a watcher, in a goroutine that start starts and that ends with the process. (A program that waits
// for all its children may reap the process first.) If this package did not end it, another one is started.
func (w *watch) reap(process *os.Process, ended chan struct{}) {
	state, err := process.Wait()
	close(ended)
	w.talk.Lock()
	if w.process != process {
		w.talk.Unlock()
		return
	}
	if err == nil {
		err = fmt.Errorf("%v", state)
	}
	report := w.again(err)
	w.talk.Unlock()
	report()
}

// startWatcher starts this binary as a watcher with the socket, which it closes here: in a session of its own, which no terminal
// ends; in the root directory, so that it keeps no file system busy; without our standard streams. hungUp is the reading end
// of a pipe that the watcher closes when all ptys are hung up.
func startWatcher(socket int) (process *os.Process, hungUp int, err error) {
	theirs := os.NewFile(uintptr(socket), "socket")
	defer theirs.Close()
	self := "/proc/self/exe" // the file that was started, even if its name is another file's now
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			return nil, -1, err
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, -1, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, -1, err
	}
	defer r.Close()
	defer w.Close()
	if hungUp, err = unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, -1, err
	}
	process, err = os.StartProcess(self, []string{watcherName, strconv.Itoa(os.Getpid())}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"}, // it has nothing to compute
		Files: []*os.File{null, null, null, theirs, w},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		_ = unix.Close(hungUp)
		return nil, -1, err
	}
	return process, hungUp, nil
}

// HungUp returns a descriptor for a process that must know, after the death of this one, when its ptys are hung up: the reading
// end of a pipe that ends then, or when the watcher process has ended. It is -1 if there is no watcher: then the death itself
// hangs them up. The caller closes it.
func HungUp() (fd int) {
	w := &watching
	w.talk.Lock()
	defer w.talk.Unlock()
	if w.process == nil {
		return -1
	}
	fd, err := unix.FcntlInt(uintptr(w.hungUp), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// Stop ends the watcher process, for a process that exits normally: it leaves no child. If there are still links, the watcher
// stays, and removes them when this process has ended.
func Stop() {
	w := &watching
	w.talk.Lock()
	process, ended := w.process, w.ended
	w.disabled = true
	if process == nil || w.needed() {
		w.talk.Unlock()
		return
	}
	w.forget()
	w.talk.Unlock()
	select {
	case <-ended:
	case <-time.After(stopPatience):
		_ = process.Kill()
	}
}

// Abandon removes all links of this process, for a process that exits at once, whatever its ports are doing. It waits for
// nothing but the file system.
func Abandon() {
	w := &watching
	w.mu.Lock()
	all := make([]link, 0, len(w.links))
	for _, h := range w.links {
		all = append(all, h)
	}
	w.mu.Unlock()
	for _, h := range all {
		if h.leads() {
			_ = os.Remove(h.path)
			_ = os.Remove(asideName(h.path))
			_ = os.Remove(lockName(h.path)) // by name while the lock is held, as Release does it
		}
	}
}
