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

// sweepEvery is how often the termios of open ports is read without a notice: the kernel sends none if the application
// is writing at that moment, if the pty is full, and for TCSADRAIN.
const sweepEvery = 250 * time.Millisecond

// shared is the process's only watcher. It is a package variable because the kernel limits inotify instances per user
// (fs.inotify.max_user_instances is 128): one for each port, or for each Host, would fail at the 128th.
var shared struct {
	mu sync.Mutex // guards both fields, and serialises the watcher's start and end
	w  *watcher
	n  int // number of its ports
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

	mu      sync.Mutex // guards the maps, and serialises setDeadline with join and requestProbe
	byWatch map[int32]*port
	byID    map[int32]*port
	lastID  int32

	sweepAt time.Time // used only by run
}

// watched is the watcher's state of a port.
type watched struct {
	watcher   *watcher    // constant after join
	writeAsks atomic.Bool // Write waits to know whether the port is open; see requestProbe
	joined    bool        // shared.n counts it; guarded by shared.mu
	id        int32       // its number in the epoll set; constant after join
	watch     int32       // its inotify watch descriptor; constant after join

	// Used only by the watcher's goroutine.
	pending    uint32        // inotify events that were read but not processed yet
	nextProbe  time.Time     // when the next probe is due; zero: none
	probeGap   time.Duration // between that probe and the one after it
	swept      uint64        // stalls at the last sweep
	hungUp     bool          // vhangup has reset the termios, which is made raw again after the next last close
	warnedLate bool          // "settings may be noticed late" was logged
}

// inotifyID is the number of the inotify instance in the epoll set; ports have numbers from 1.
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
	p.joined = true // before add, because leave must undo it even if add fails
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
	p.probeGap, p.nextProbe = firstGap, time.Now()
	p.watcher = w
	w.wake() // run includes the new port in its deadline
	return w.watchSlave(p)
}

// requestProbe makes run probe p, and then poke its writer.
func (w *watcher) requestProbe(p *port) {
	p.writeAsks.Store(true)
	w.mu.Lock() // else a setDeadline that has not read writeAsks yet would undo the wake
	defer w.mu.Unlock()
	w.wake()
}

// wake makes run update all ports now; the caller holds mu.
func (w *watcher) wake() { _ = w.set.SetReadDeadline(time.Unix(1, 0)) }

// watchSlave adds p's own slave to the epoll set. Closing the slave removes it.
func (w *watcher) watchSlave(p *port) error {
	e := unix.EpollEvent{Events: unix.EPOLLET | unix.EPOLLWRNORM, Fd: p.id}
	if err := unix.EpollCtl(w.setFD, unix.EPOLL_CTL_ADD, p.slave.fd, &e); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// run is the watcher's goroutine. It waits for an event of the epoll set, or until a probe or a sweep is due.
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
			w.updateOpen(p, now)
		}
		if now.After(w.sweepAt) {
			w.sweepAt = now.Add(sweepEvery)
			for _, p := range ports {
				p.compare()
				p.pokeStalled()
			}
		}
		w.setDeadline()
	}
}

// all returns the current ports.
func (w *watcher) all() []*port {
	w.mu.Lock()
	defer w.mu.Unlock()
	ports := make([]*port, 0, len(w.byID))
	for _, p := range w.byID {
		ports = append(ports, p)
	}
	return ports
}

// setDeadline makes the next wait end when something is due.
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
		sooner(p.nextProbe)
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
		p.probeGap, p.nextProbe = firstGap, time.Now() // a probe; an inotify event would count as an open and close
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

// pokeStalled pokes a Write that has made no progress since the last sweep. The kernel announces room when the
// application reads, but a worker makes the room and may run later: a check in between finds none, and if that was the
// last read, room is not announced again. This was observed once, on a busy machine: the application had read, the pty
// had room, and Write waited.
func (p *port) pokeStalled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full && p.open && !p.closed && p.stalls == p.swept {
		p.term.PokeWriter()
	}
	p.swept = p.stalls
}

// differs reports whether the termios differs from what Next reported last; the caller holds mu.
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
					p.nextProbe, p.probeGap = time.Now(), firstGap
				}
			}
			if p := w.byWatch[watch]; p != nil {
				p.pending |= mask & (unix.IN_OPEN | unix.IN_CLOSE)
			}
		}
		w.mu.Unlock()
	}
}
