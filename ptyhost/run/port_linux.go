//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"log/slog"
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
func newPort(h *Host, claim *devpath.Claim, access devpath.Access, config uart.PortConfig) (*port, error) {
	p := &port{
		host: h, claim: claim, access: access, config: config, log: aside.Logger(config.Log),
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

// absPath returns a port's path as other processes see it.
func absPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil || path == "" {
		return "", errors.New("no path (set the path at which the application finds the port, such as /dev/ttyV0)")
	}
	return abs, nil
}
