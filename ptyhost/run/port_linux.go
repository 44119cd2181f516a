//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/aside"
	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/terminal"
)

const (
	// readSize is the most that one read of a pty's master returns (the tty core's buffer). If a read returns at least
	// readAgainFrom bytes, another read follows.
	readSize      = 4096
	readAgainFrom = readSize / 2
	// maxDrain bounds what one call reads from the pty: no more can have been in it before the call (22,048 bytes
	// measured).
	maxDrain = 32 << 10
	// maxQueue is the queue's length from which on a call no longer reads the pty before it queues its change. The
	// change then overtakes the bytes still in the pty; this bounds memory.
	maxQueue = 256 << 10
)

// port is one pty, and everything that a UART has and a pty lacks. Bytes take the same path as in package ptyhost. A
// change that a program makes with a call is queued after the bytes that the program wrote before it: they are read
// from the pty for that purpose, while the program is blocked in the call, so the order is exact.
type port struct {
	// Constant.
	host   *Host
	claim  *devpath.Claim
	access devpath.Access
	config uart.PortConfig
	log    *slog.Logger

	next    nextState  // owned by the caller of Next
	writing writeState // owned by the caller of Write

	closing    sync.Once
	closeErr   error          // written under closing
	background sync.WaitGroup // ptys being closed after a hangup, and waits for opens in the kernel

	// mu guards everything below, and makes each change of it one step for the programs. It is held over system calls
	// that do not block.
	mu      sync.Mutex
	*pty           // the current one
	hangups uint64 // hangups so far; each has brought another pty
	ended   bool   // Close was called
	up      upState
	opens   openState
	line    lineState
	input   inputState
	wait    waitState
	warned  warnings
}

// nextState is what fetchNext found.
type nextState struct {
	data  []byte
	event uart.Event
	buf   [3 * readSize]byte // lent to the caller until the next call
}

// writeState is the Write in progress.
type writeState struct {
	p       []byte
	n       int // bytes of p written
	started bool
	// Those of openState and inputState when it started. If one has changed, the rest of p is for nobody.
	closes, rxPurges uint64
}

// upState is what programs did and the bridge has not taken yet; guarded by port.mu.
type upState struct {
	queue        ordered.Queue
	lent         int       // bytes that Next has returned, until the following call
	written      uint64    // bytes ever read from the pty
	blockedSince time.Time // since when calls wait for room in the queue while nothing is taken; zero: none waits
	outq         outq
}

// openState is who has the port open; guarded by port.mu.
type openState struct {
	open      bool          // a program has the slave open, or an open waits
	hadSlave  bool          // a program has the slave open, or had it at some time since open is true
	opening   *opening      // of the opens that wait; nil if none waits for the session
	waiting   map[*call]int // opens that wait, with their flags; none of them has the slave open
	early     []byte        // bytes received for them
	inKernel  []*kernelOpen
	closes    uint64 // last closes so far
	lastClose lastClose
}

// lineState is what a UART's driver knows of the line; guarded by port.mu.
type lineState struct {
	termios   unix.Termios
	sent      lineSettings // last reported by Next
	dtr, rts  bool
	breaking  bool
	lastBreak *timedBreak
	exclusive bool       // TIOCEXCL
	serial    serialInfo // TIOCSSERIAL
	modem     uart.ModemState
	counts    counts
}

// inputState is what is on its way to the programs; guarded by port.mu.
type inputState struct {
	errorNext uart.LineState // of the next byte written
	pending   []byte         // bytes that go to the program before the next ones
	buf       [512]byte      // backs pending
	purges    uint64         // purges of received bytes so far
}

// waitState wakes the calls that wait; guarded by port.mu.
type waitState struct {
	wake    chan struct{} // closed if something has changed that a call may wait for
	waiters int           // calls that wait
	// Set by a condition that await has checked: check it again after this time (0: no such time), and when this is
	// closed.
	recheckAfter time.Duration
	recheckOn    <-chan struct{}
}

// warnings are what has been logged; guarded by port.mu.
type warnings struct {
	reordered, merged bool // since the last close at which the queue was not crowded
	speed, flow       bool
}

// pty is a terminal and what belongs to it.
type pty struct {
	term    *terminal.Terminal
	id      fileID // of the slave
	watcher watcher
}

// lineSettings are the line coding and the flow control.
type lineSettings struct {
	coding uart.Coding
	flow   uart.Flow
}

var _ uart.Port = (*port)(nil)

// newPort makes a port. Its path is claimed, and is not linked yet.
func newPort(h *Host, claim *devpath.Claim, who devpath.Access, config uart.PortConfig) (*port, error) {
	p := &port{
		host: h, claim: claim, access: who, config: config, log: aside.Logger(config.Log),
		opens: openState{waiting: map[*call]int{}},
		line: lineState{
			sent:   lineSettings{uart.DefaultCoding(), uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}},
			serial: firstSerialInfo(),
		},
		wait: waitState{wake: make(chan struct{})},
	}
	if p.config.Urgent == nil {
		p.config.Urgent = func(uart.Event) {}
	}
	if p.config.Unsent == nil {
		p.config.Unsent = func() uart.Unsent { return uart.Unsent{} }
	}
	first, err := p.newPTY()
	if err != nil {
		return nil, err
	}
	p.mu.Lock() // the watcher of the pty runs already
	defer p.mu.Unlock()
	p.pty = first
	t, err := unix.IoctlGetTermios(p.term.Master(), unix.TCGETS2)
	if err != nil {
		p.ended = true
		p.background.Go(first.close)
		return nil, fmt.Errorf("termios of %s: %w", p.term.Name(), err)
	}
	p.line.termios = firstTermios(t.Cc)
	return p, nil
}

// newPTY makes a pty for the port and watches it.
func (p *port) newPTY() (*pty, error) {
	term, err := terminal.New(p.access, p.fetchNext, p.writeSome)
	if err != nil {
		return nil, err
	}
	if err := term.AllowOpens(); err != nil {
		term.Close()
		return nil, err
	}
	t := &pty{term: term}
	var st unix.Stat_t
	if err = unix.Stat(term.Name(), &st); err == nil {
		t.id = idOf(&st)
		err = p.watch(t)
	}
	if err != nil {
		term.Close()
		return nil, fmt.Errorf("%s: %w", term.Name(), err)
	}
	return t, nil
}

// close hangs the pty up. The caller must not hold port.mu, which the watcher takes.
func (t *pty) close() {
	t.unwatch()
	t.term.Close()
}

// Name implements uart.Port. It is the path of the pty's slave, which changes with every hangup.
func (p *port) Name() string { return p.terminal().Name() }

// terminal returns the current terminal; port.mu must not be held.
func (p *port) terminal() *terminal.Terminal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term
}

// Fidelity implements uart.Port. It is what programs started by this host get; any other program gets a plain pty's.
func (p *port) Fidelity() uart.Fidelity { return fidelity }

// Retire implements uart.Port. The paths of --as lead nowhere from then on, too.
func (p *port) Retire() error {
	p.host.retire(p)
	return p.claim.Retire()
}

// Close implements uart.Port. The programs' reads return end of file; writes and calls that wait fail with EIO, as if a
// USB adapter had been pulled out. It must not be called from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.host.forget(p)
		p.mu.Lock()
		p.ended = true
		p.wakeWaiters()
		last := p.pty
		p.mu.Unlock()
		p.closeErr = p.claim.Release() // after ended is set: the watcher process opens the slave for this
		last.close()
		p.background.Wait()
	})
	return p.closeErr
}

// wakeWaiters makes every call that waits check its condition again; port.mu is held.
func (p *port) wakeWaiters() {
	if p.wait.waiters > 0 {
		close(p.wait.wake)
		p.wait.wake = make(chan struct{})
	}
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		term := p.terminal()
		err := term.WaitRead()
		switch {
		case err == nil:
			return p.next.data, p.next.event, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			term.UnpokeReader() // the queue was filled before the poke
		case p.isEnded():
			return nil, uart.Event{}, uart.ErrClosed
		case term != p.terminal(): // hung up
		default:
			return nil, uart.Event{}, fmt.Errorf("port %s: read the pty: %w", p.claim.Path(), err)
		}
	}
}

// busy reports whether a program has the port open, or something that programs did has not been taken yet.
func (p *port) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.checkLastClose()
	return p.opens.open || p.up.lent > 0 || !p.up.queue.Empty()
}

func (p *port) isEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// fetchNext puts the next thing that programs did into p.next, and reports whether there was one. It never blocks. What
// is queued comes before what is still in the pty.
func (p *port) fetchNext() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up.lent > 0 {
		p.up.lent = 0
		p.wakeWaiters()
	}
	if p.ended {
		return false
	}
	p.up.blockedSince = time.Time{}
	for {
		if e, ok := p.up.queue.Event(); ok {
			p.wakeWaiters() // there is room for another event
			p.next.data, p.next.event = nil, e
			return true
		}
		n := p.up.queue.Take(p.next.buf[:])
		if n == 0 && p.opens.open {
			n = p.readBytes()
		}
		if n > 0 {
			p.up.lent = n
			p.next.data, p.next.event = p.next.buf[:n], uart.Event{}
			return true
		}
		if p.up.queue.Empty() { // not empty if readBytes noticed the last close
			return false
		}
	}
}

// readBytes reads the pty into the buffer that Next lends, more than once if a lot arrives; port.mu is held.
func (p *port) readBytes() (n int) {
	for {
		m, gone := p.term.ReadMaster(p.next.buf[n:])
		n += m
		p.line.counts.tx += int32(m)
		p.up.written += uint64(m)
		if m > 0 && !p.opens.hadSlave { // from a program whose open was not noticed yet, while an open waits
			p.noteUnseenOpen()
		}
		if gone && n == 0 {
			p.checkLastClose()
			return 0
		}
		if m < readAgainFrom || len(p.next.buf)-n < readSize {
			return n
		}
	}
}

// drainPTY moves what is in the pty into the queue, unless the queue is too long; port.mu is held.
func (p *port) drainPTY() {
	if p.up.queue.Len() > maxQueue {
		p.warnReordered("changes of settings overtake bytes: too many of them wait for the remote")
		return
	}
	p.drainWholePTY()
}

// drainWholePTY is drainPTY however long the queue is.
func (p *port) drainWholePTY() {
	var buf [readSize]byte
	taken := 0
	for taken < maxDrain {
		n, _ := p.term.ReadMaster(buf[:])
		if n == 0 {
			break
		}
		p.up.queue.Push(buf[:n])
		p.line.counts.tx += int32(n)
		p.up.written += uint64(n)
		taken += n
	}
	if taken > 0 {
		p.term.PokeReader()
	}
}

// addEvent queues an event after everything that programs have done; port.mu is held.
func (p *port) addEvent(e uart.Event) {
	p.drainPTY()
	p.queueEvent(e)
}

// queueEvent queues an event after what has been read from the pty; port.mu is held.
func (p *port) queueEvent(e uart.Event) {
	outcome := p.up.queue.Add(e)
	if outcome.Ready != nil && p.opens.opening != nil {
		// The queue merged this open with another: nobody will report a session for it, so it waits for none. Ready
		// itself cannot be called here, because it takes port.mu.
		p.opens.opening.done = true
	}
	if outcome.Moved {
		p.warnReordered("changes of settings are late, after bytes that were written later: too many of them wait for the remote")
	}
	p.term.PokeReader()
}

// warnReordered logs, once per open period, that changes and bytes were reordered; port.mu is held.
func (p *port) warnReordered(how string) {
	if !p.warned.reordered {
		p.warned.reordered = true
		p.log.Warn(how, "device", p.term.Name())
	}
}

// absPath returns a port's path as other processes see it.
func absPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil || path == "" {
		return "", errors.New("no path (set the path at which the application finds the port, such as /dev/ttyV0)")
	}
	return abs, nil
}
