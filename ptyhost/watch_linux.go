package ptyhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sweepEvery is how often the termios of open ports is read without a notice: the kernel drops the notice if the application
// writes at that moment, in a full pty, and with TCSADRAIN.
const sweepEvery = 250 * time.Millisecond

// shared is the process's only watcher. It is a package variable because the kernel limits inotify instances per user
// (fs.inotify.max_user_instances is 128): one for each port, or for each Host, would fail at the 128th.
var shared struct {
	mu sync.Mutex // guards both fields, and serialises the watcher's start and end
	w  *watcher
	n  int // its ports
}

// watcher reports to the ports of this process what their masters do not: opens and closes (one inotify instance) and
// changes of termios (one epoll set, edge-triggered EPOLLWRNORM on each port's own slave: the kernel's wake-ups for
// reads and writes carry the key EPOLLOUT and do not match it; the one for a change carries none and does).
//
// The first port's join starts its goroutine (run); the last port's leave closes set, which ends it.
type watcher struct {
	set     *os.File // the epoll set, itself in the netpoller: no thread waits for it
	raw     syscall.RawConn
	setFD   int
	inotify int
	ended   chan struct{} // closed when run has returned

	mu      sync.Mutex // guards the maps, and makes "compute the deadline, then set it" one step against join and ask
	byWatch map[int32]*port
	byID    map[int32]*port
	lastID  int32

	sweepAt time.Time // only run uses it
}

// watched is what the watcher keeps for a port.
type watched struct {
	watcher   *watcher    // constant after join
	writeAsks atomic.Bool // Write waits to know whether the port is open; see ask
	joined    bool        // shared.n counts it; guarded by shared.mu
	id        int32       // in the epoll set; constant after join
	watch     int32       // of inotify; constant after join

	// Only the watcher's goroutine.
	pending    uint32        // inotify events that were read and not processed yet
	again      time.Time     // when the next probe is due; zero: none
	gap        time.Duration // between that probe and the one after it
	swept      uint64        // stalls at the last sweep
	hungUp     bool          // vhangup has reset the termios: it is made raw again after the next last close
	warnedLate bool          // "settings may be noticed late" was logged
}

// inotifyID is the inotify instance in the epoll set; ports count from 1.
const inotifyID = 0

// join begins to watch p, which nothing else uses yet.
func join(p *port) error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.w == nil {
		w, err := newWatcher()
		if err != nil {
			return err
		}
		shared.w = w
	}
	shared.n++
	p.joined = true // leave undoes it, also if add fails
	return shared.w.add(p)
}

// leave stops watching p, and ends the watcher with its last port. It does nothing for a port that has not joined.
func leave(p *port) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !p.joined {
		return
	}
	w := shared.w
	w.mu.Lock()
	if p.watch != 0 {
		delete(w.byWatch, p.watch)
		_, _ = unix.InotifyRmWatch(w.inotify, uint32(p.watch))
	}
	delete(w.byID, p.id)
	w.mu.Unlock()
	if shared.n--; shared.n == 0 {
		shared.w = nil
		_ = w.set.Close()
		<-w.ended
		_ = unix.Close(w.inotify)
	}
}

func newWatcher() (*watcher, error) {
	w := &watcher{ended: make(chan struct{}), byWatch: map[int32]*port{}, byID: map[int32]*port{}}
	var err error
	if w.inotify, err = unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err != nil {
		return nil, fmt.Errorf("inotify: %w (raise fs.inotify.max_user_instances)", err)
	}
	if w.setFD, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		_ = unix.Close(w.inotify)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	err = unix.SetNonblock(w.setFD, true)
	w.set = os.NewFile(uintptr(w.setFD), "watcher of ptys")
	if err == nil {
		w.raw, err = w.set.SyscallConn()
	}
	if err == nil {
		err = unix.EpollCtl(w.setFD, unix.EPOLL_CTL_ADD, w.inotify, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: inotifyID})
	}
	if err != nil {
		_ = w.set.Close()
		_ = unix.Close(w.inotify)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	go w.run()
	return w, nil
}

// add adds p to the inotify instance and the epoll set.
func (w *watcher) add(p *port) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch, err := unix.InotifyAddWatch(w.inotify, p.term.Name(), unix.IN_OPEN|unix.IN_CLOSE)
	if err != nil {
		return fmt.Errorf("inotify on %s: %w (raise fs.inotify.max_user_watches)", p.term.Name(), err)
	}
	w.lastID++
	p.watch, p.id = int32(watch), w.lastID
	w.byWatch[p.watch], w.byID[p.id] = p, p
	// A program may have opened it before the watch existed.
	p.gap, p.again = firstGap, time.Now()
	p.watcher = w
	w.wake() // run includes the new port in its deadline
	return w.watchSlave(p)
}

// ask has run find out whether p is open, and then poke its writer.
func (w *watcher) ask(p *port) {
	p.writeAsks.Store(true)
	w.mu.Lock() // otherwise a setDeadline that has not seen it yet would undo the wake
	defer w.mu.Unlock()
	w.wake()
}

// wake makes run tend all ports now; the lock is held.
func (w *watcher) wake() { _ = w.set.SetReadDeadline(time.Unix(1, 0)) }

// watchSlave adds p's own slave to the epoll set. It leaves the set when it is closed.
func (w *watcher) watchSlave(p *port) error {
	e := unix.EpollEvent{Events: unix.EPOLLET | unix.EPOLLWRNORM, Fd: p.id}
	if err := unix.EpollCtl(w.setFD, unix.EPOLL_CTL_ADD, p.slave.fd, &e); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// run is the watcher's goroutine. It waits for the epoll set, and for the time at which a probe or a sweep is due.
func (w *watcher) run() {
	defer close(w.ended)
	for {
		var events [64]unix.EpollEvent
		n := 0
		err := w.raw.Read(func(uintptr) bool {
			n, _ = unix.EpollWait(w.setFD, events[:], 0)
			return n > 0
		})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return // closed by leave
		}
		for _, e := range events[:max(n, 0)] {
			w.handle(e)
		}
		w.drain()
		now := time.Now()
		ports := w.all()
		for _, p := range ports {
			w.tend(p, now)
		}
		if now.After(w.sweepAt) {
			w.sweepAt = now.Add(sweepEvery)
			for _, p := range ports {
				p.compare()
				p.nudge()
			}
		}
		w.setDeadline()
	}
}

// all returns the present ports.
func (w *watcher) all() []*port {
	w.mu.Lock()
	defer w.mu.Unlock()
	ports := make([]*port, 0, len(w.byID))
	for _, p := range w.byID {
		ports = append(ports, p)
	}
	return ports
}

// setDeadline ends the next wait when something is due.
func (w *watcher) setDeadline() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	for _, p := range w.byID {
		sooner(p.again)
		if p.writeAsks.Load() {
			sooner(time.Unix(1, 0))
		}
		if p.open { // only this goroutine changes it
			sooner(w.sweepAt)
		}
	}
	_ = w.set.SetReadDeadline(due)
}

// handle processes one event of the epoll set.
func (w *watcher) handle(e unix.EpollEvent) {
	w.mu.Lock()
	p := w.byID[e.Fd]
	w.mu.Unlock()
	if p == nil {
		return // inotify, which run drains anyway, or a port that has left
	}
	if e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		// vhangup has hung up our own slave too. The descriptors of programs count as open until they are closed.
		p.hungUp = true
		p.gap, p.again = firstGap, time.Now() // a probe; an inotify event would count as an open and close
		return
	}
	p.compare()
}

// compare wakes Next if the termios differs from what Next reported last.
func (p *port) compare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.open {
		return
	}
	if p.differs() {
		p.wakeNext()
	}
}

// nudge has a Write without progress since the last sweep check for room itself. The kernel announces room when the
// application reads, but a worker makes the room and may run later: a check in between finds none, and if that was the last
// read, nothing is announced again. It was seen once, on a busy machine: an application that read, a pty with room, and a
// Write that waited.
func (p *port) nudge() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full && p.open && !p.closed && p.stalls == p.swept {
		p.term.PokeWriter()
	}
	p.swept = p.stalls
}

// differs reports whether the termios differs from what Next reported last; the lock is held.
func (p *port) differs() bool {
	var t unix.Termios
	if !p.term.Termios(&t) {
		return false
	}
	return settingsOf(&t).over(p.reported) != p.reported
}

// drain reads all inotify events and adds them to the ports' pending.
func (w *watcher) drain() {
	var buf [4096]byte
	for {
		n, err := unix.Read(w.inotify, buf[:])
		if n <= 0 || err != nil {
			return
		}
		w.mu.Lock()
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			watch := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			name := binary.NativeEndian.Uint32(b[12:])
			b = b[min(len(b), unix.SizeofInotifyEvent+int(name)):]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				for _, p := range w.byID {
					p.again, p.gap = time.Now(), firstGap
				}
			}
			if p := w.byWatch[watch]; p != nil {
				p.pending |= mask & (unix.IN_OPEN | unix.IN_CLOSE)
			}
		}
		w.mu.Unlock()
	}
}
