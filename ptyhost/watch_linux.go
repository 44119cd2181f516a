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

// sweepEvery is how often the termios of the ports that an application has open are looked at without a notice: the
// kernel drops the notice where the application writes at that moment, in a full pty, and with TCSADRAIN.
const sweepEvery = 250 * time.Millisecond

// shared is the process's only watcher. It is a package variable because the kernel counts inotify instances by user
// (fs.inotify.max_user_instances is 128): one a port, or one a Host, would end at the 128th.
var shared struct {
	mu sync.Mutex // over both, and over the watcher's start and end
	w  *watcher
	n  int // its ports
}

// watcher tells the ports of this process what their masters do not: opens and closes (one inotify instance) and
// changes of termios (one epoll set, edge-triggered EPOLLWRNORM on each port's own slave: the kernel's wake-ups for
// reads and writes carry the key EPOLLOUT and do not pass it, the one for a change has none and does).
//
// Its goroutine is started by the first port's join and ends by the last one's leave, which closes set.
type watcher struct {
	set     *os.File // the epoll set, itself in the netpoller: no thread waits for it
	raw     syscall.RawConn
	setFD   int
	inotify int
	ended   chan struct{}

	mu      sync.Mutex // over the maps, and over "compute the deadline, then set it" against join
	byWatch map[int32]*port
	byID    map[int32]*port
	lastID  int32

	sweepAt time.Time // only its goroutine's
}

// watched is what the watcher keeps of a port.
type watched struct {
	watcher    *watcher    // it never changes
	asked      atomic.Bool // Write wants to know who has the port open; see ask
	joined     bool        // join counts it
	id         int32       // in the epoll set
	watch      int32       // of inotify
	pending    uint32      // inotify events that were read and not yet dealt with
	again      time.Time
	gap        time.Duration // see tend
	swept      uint64        // stalls at the last sweep
	hungUp     bool          // the kernel has given the pty its first termios: the next last close makes it raw again
	lateLogged bool          // "settings may be noticed late" was logged
}

// inotifyID marks the inotify instance in the epoll set; ports count from 1.
const inotifyID = 0

// join begins to watch p, which nobody else uses yet.
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
	p.joined = true // leave takes it back, also where add fails
	return shared.w.add(p)
}

// leave ends the watching of p, and the watcher with its last port. A port that has not joined may leave too.
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

// add puts p into both.
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
	// Somebody may have opened it before the watch stood.
	p.gap, p.again = firstGap, time.Now()
	p.watcher = w
	w.wake() // run takes the new port into its deadline
	return w.watchSlave(p)
}

// ask has run find out who has p open, and then poke its writer.
func (w *watcher) ask(p *port) {
	p.asked.Store(true)
	w.mu.Lock() // or setDeadline, which has not seen it yet, would undo the wake
	defer w.mu.Unlock()
	w.wake()
}

// wake makes run tend all ports now; the lock is held.
func (w *watcher) wake() { _ = w.set.SetReadDeadline(time.Unix(1, 0)) }

// watchSlave puts p's own slave into the epoll set. It leaves the set when it is closed.
func (w *watcher) watchSlave(p *port) error {
	e := unix.EpollEvent{Events: unix.EPOLLET | unix.EPOLLWRNORM, Fd: p.id}
	if err := unix.EpollCtl(w.setFD, unix.EPOLL_CTL_ADD, p.slave.fd, &e); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// run is the watcher's goroutine: see watcher for who starts and ends it. It waits for the epoll set, and for the time at
// which a probe or a sweep is due.
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
			w.notice(e)
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

// all is the present ports.
func (w *watcher) all() []*port {
	w.mu.Lock()
	defer w.mu.Unlock()
	ports := make([]*port, 0, len(w.byID))
	for _, p := range w.byID {
		ports = append(ports, p)
	}
	return ports
}

// setDeadline lets the next wait end when something is due.
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
		if p.asked.Load() {
			sooner(time.Unix(1, 0))
		}
		if p.open { // only this goroutine changes it
			sooner(w.sweepAt)
		}
	}
	_ = w.set.SetReadDeadline(due)
}

// notice takes one event of the epoll set.
func (w *watcher) notice(e unix.EpollEvent) {
	w.mu.Lock()
	p := w.byID[e.Fd]
	w.mu.Unlock()
	if p == nil {
		return // inotify, which run drains anyway, or a port that has left
	}
	if e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		// vhangup took our own slave too, with everybody else's, which count until they are closed.
		p.hungUp = true
		p.gap, p.again = firstGap, time.Now() // a probe, not an event of inotify, which would count as a visit
		return
	}
	p.compare()
}

// compare pokes Next where the termios is not what Next told last.
func (p *port) compare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || !p.open {
		return
	}
	if p.differs() {
		p.poke()
	}
}

// nudge has a Write that has stood still since the last sweep look for room itself. The kernel tells of room when the
// application reads, but makes it in a worker, which may come later: whoever asks in between learns nothing, and where
// that was the last read, nothing more is told. It was seen once, on a busy machine: an application that read, a pty
// with room and a Write that waited.
func (p *port) nudge() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full && p.open && !p.ended && p.stalls == p.swept {
		p.term.PokeWriter()
	}
	p.swept = p.stalls
}

// differs reports whether the termios says something else than what Next told last; the lock is held.
func (p *port) differs() bool {
	var t unix.Termios
	if !p.term.Termios(&t) {
		return false
	}
	return settingsOf(&t).over(p.told) != p.told
}

// drain reads everything that inotify has, and notes it at the ports.
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
