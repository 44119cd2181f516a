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
	// watcherPatience is how long the watcher may take with what it is told, which is some microseconds' work. Then it is
	// killed and another one started: somebody has stopped it.
	watcherPatience = 5 * time.Second
	// soonDead is how long a watcher must live to be replaced without end; triesMost is how many in a row may not.
	soonDead  = time.Minute
	triesMost = 3
	// stopPatience is how long Stop waits for the watcher's end.
	stopPatience = time.Second
)

// watching is this process's watcher. It is a package variable, as a process has one whatever hosts it has.
var watching = watch{socket: -1, hungUp: -1, held: map[uint64]held{}}

// watch is the agent's side of the watcher process. Of no port's way: it is told of a link when that is made, and when it
// is gone.
type watch struct {
	mu   sync.Mutex // over both; held over nothing that waits
	held map[uint64]held
	last uint64

	talk    sync.Mutex // over all below, and over what is said to the watcher; at most watcherPatience
	able    bool       // this binary can play it
	useless bool       // none is started any more
	process *os.Process
	ended   chan struct{} // closed when process is gone
	socket  int           // -1: there is none
	hungUp  int           // the reading end of a pipe that ends when all ptys are hung up
	started time.Time
	dead    int // how many have ended soon, one after the other
}

// hold notes a link that is about to be made, and tells the watcher, which is started for the first one. It returns the
// link's number. The master must stay open until drop has returned.
func (w *watch) hold(h held) uint64 {
	w.mu.Lock()
	w.last++
	id := w.last
	w.held[id] = h
	w.mu.Unlock()
	w.tell(opHold, id, h)
	return id
}

// ready sees to it that there is a watcher before a port is made: until a process that is started executes its program it
// has copies of all descriptors, those of a pty's slave too, and somebody seems to have the port open.
func (w *watch) ready() {
	w.talk.Lock()
	say := nothing
	if w.process == nil {
		say = w.start()
	}
	w.talk.Unlock()
	say()
}

// drop takes a link back; 0 is none. Of opClosed and opLetGo it returns only when the watcher has given the link's master back,
// or is gone.
func (w *watch) drop(id uint64, why op) {
	if id == 0 {
		return
	}
	w.mu.Lock()
	delete(w.held, id)
	w.mu.Unlock()
	w.tell(why, id, held{master: -1})
}

// tell tells the watcher, and sees to it that there is one for what is held. What a user should know of it is said after
// the lock.
func (w *watch) tell(what op, id uint64, h held) {
	w.talk.Lock()
	say := nothing
	switch {
	case w.process == nil && what == opHold:
		say = w.start()
	case w.process != nil:
		err := send(w.socket, what, id, h)
		if err == nil && (what == opClosed || what == opLetGo) {
			err = awaitAnswer(w.socket, id)
		}
		if err != nil {
			say = w.replace(err)
		}
	}
	w.talk.Unlock()
	say()
}

func nothing() {}

// replace ends a watcher that does not do its work, and starts another; the lock is held. Killed it is first: by the end of
// its socket it would believe this process dead.
func (w *watch) replace(why error) (say func()) {
	_ = w.process.Kill()
	<-w.ended
	return w.again(fmt.Errorf("it did not answer: %w", why))
}

// again starts another watcher in the place of one that is gone; the lock is held.
func (w *watch) again(why error) (say func()) {
	w.forget()
	if time.Since(w.started) >= soonDead {
		w.dead = 0
	}
	w.dead++
	switch {
	case w.dead > triesMost:
		return w.giveUp(why)
	case !w.needed():
		return nothing
	}
	started := w.start()
	if w.dead > 1 {
		return started
	}
	return func() {
		slog.Default().Warn("the watcher process has ended; another one is started", "why", why)
		started()
	}
}

// forget closes what leads to a watcher; the lock is held.
func (w *watch) forget() {
	_ = unix.Close(w.socket)
	_ = unix.Close(w.hungUp)
	w.socket, w.hungUp, w.process = -1, -1, nil
}

// needed reports whether links are held.
func (w *watch) needed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held) > 0
}

// giveUp goes on without a watcher; the lock is held.
func (w *watch) giveUp(why error) (say func()) {
	w.useless = true
	return func() {
		slog.Default().Warn("there is no watcher process: if this one is killed, the ports' links stay until it is started again", "why", why)
	}
}

// start starts the watcher, where this binary can play it, and tells it of all links that are held; the lock is held.
func (w *watch) start() (say func()) {
	if !w.able || w.useless {
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
	all := make(map[uint64]held, len(w.held))
	for id, h := range w.held {
		all[id] = h
	}
	w.mu.Unlock()
	for id, h := range all { // drop waits for the lock: their masters are open
		if err := send(w.socket, opHold, id, h); err != nil {
			return w.replace(err)
		}
	}
	return nothing
}

// reap takes the end of a watcher. It is started by start, and ends with the process; whoever takes the ends of all
// children of this process may come first. Where the end was not our doing another one is started.
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
	say := w.again(err)
	w.talk.Unlock()
	say()
}

// startWatcher starts this binary as a watcher with the socket, which it takes over: in a session of its own, which no
// terminal ends, in no directory that somebody may want to unmount, with nothing of our streams. hungUp is the reading end of
// a pipe that the watcher closes when all ptys are hung up.
func startWatcher(socket int) (process *os.Process, hungUp int, err error) {
	theirs := os.NewFile(uintptr(socket), "socket")
	defer theirs.Close()
	self := "/proc/self/exe" // the file that was started, also where another one has its name now
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

// HungUp returns a descriptor for whoever must know, after the death of this process, when its ptys are hung up: the reading
// end of a pipe that ends then, or when the watcher process is gone. It is -1 where there is no watcher: then they are hung up
// by the death itself. The caller closes it.
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

// Stop ends the watcher process, for a process that ends in order: it leaves no child. Where links are still held the
// watcher stays, and removes them when this process is gone.
func Stop() {
	w := &watching
	w.talk.Lock()
	process, ended := w.process, w.ended
	w.useless = true
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

// Abandon removes all links of this process, for one that ends at once, whatever its ports are at. It waits for nothing but
// the file system.
func Abandon() {
	w := &watching
	w.mu.Lock()
	all := make([]held, 0, len(w.held))
	for _, h := range w.held {
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
