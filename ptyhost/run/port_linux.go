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
	// readSize is what a pty's master gives in one read at most; readMore is how much one must give for another to follow.
	readSize = 4096
	readMore = readSize / 2
	// drainMost bounds what one call takes out of the pty: more cannot have been in it before the call (22,048 measured).
	drainMost = 32 << 10
	// queueMost is how many bytes may wait in the queue for a call to put what is in the pty behind them. Beyond it the
	// change is told before the bytes that are still in the pty: memory ends somewhere.
	queueMost = 256 << 10
)

// port is one pty and everything that a UART has and a pty has not. The ways of a byte are those of package ptyhost; what
// a program's call changes is put into the queue behind the bytes that the program wrote before, which are taken out of the
// pty for it: the program stands still in its call, so the order is exact.
type port struct {
	host   *Host
	claim  *devpath.Claim
	who    devpath.Access
	config uart.PortConfig
	log    *slog.Logger

	found   found // what the last look found; only Next's
	lending [3 * readSize]byte
	given   given // the Write under way; only Write's

	closing  sync.Once
	closeErr error
	hanging  sync.WaitGroup // terminals that were hung up and are being closed

	mu sync.Mutex // over all below; held over system calls that do not wait
	*pty
	hangups uint64 // so far: each has brought another pty
	queue   ordered.Queue
	lent    int    // bytes that Next has returned and that have not come back
	written uint64 // bytes that were ever taken out of the pty
	last    visit
	outq    outq
	ended   bool

	open      bool          // a program has the slave open, or an open waits
	had       bool          // a program has it, or had it since that is so
	opening   *opening      // of those that wait; nil: nobody waits for the session
	waiting   map[*call]int // opens that wait, with their flags; none of them has the slave open
	early     []byte        // what came for them
	performed []*performed
	period    uint64    // closes so far
	purges    uint64    // of what was received
	overrun   bool      // that the order was given up for want of room was said, since the queue was last not crowded, at a close
	merged    bool      // that changes were merged, likewise
	held      time.Time // since when calls are held, and nothing was taken; zero: none is

	termios   unix.Termios
	told      line
	dtr, rts  bool
	breaking  bool
	timed     *timedBreak // the last one
	exclusive bool
	info      serialInfo // TIOCSSERIAL
	modem     uart.ModemState
	counts    counts

	errorNext uart.LineState // belongs to the next byte written
	pending   []byte         // bytes for the program that go before the next ones
	cooked    [512]byte

	wake     chan struct{} // closed when something has changed that a call may wait for
	sleepers int           // calls that wait
	again    time.Duration // what ready asks later for
	news     <-chan struct{}

	saidSpeed, saidFlow bool
}

// pty is a terminal, and what belongs to it.
type pty struct {
	term    *terminal.Terminal
	id      fileID // of the slave
	watcher watcher
}

// line is what Next has told of the line.
type line struct {
	coding uart.Coding
	flow   uart.Flow
}

type found struct {
	data  []byte
	event uart.Event
}

// given is one Write under way.
type given struct {
	p              []byte
	n              int
	begun          bool
	period, purges uint64
}

var _ uart.Port = (*port)(nil)

// newPort makes a port; its path is taken, and leads nowhere yet.
func newPort(h *Host, claim *devpath.Claim, who devpath.Access, config uart.PortConfig) (*port, error) {
	p := &port{
		host: h, claim: claim, who: who, config: config, log: aside.Logger(config.Log), wake: make(chan struct{}), waiting: map[*call]int{},
		told: line{uart.DefaultCoding(), uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}, info: firstSerialInfo(),
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
	p.mu.Lock() // its watcher looks already
	defer p.mu.Unlock()
	p.pty = first
	t, err := unix.IoctlGetTermios(p.term.Master(), unix.TCGETS2)
	if err != nil {
		p.ended = true
		p.hanging.Go(first.close)
		return nil, fmt.Errorf("termios of %s: %w", p.term.Name(), err)
	}
	p.termios = firstTermios(t.Cc)
	return p, nil
}

// newPTY makes a pty for the port, and watches it.
func (p *port) newPTY() (*pty, error) {
	term, err := terminal.New(p.who, p.look, p.give)
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

// close hangs the pty up. Nobody may hold the port's lock.
func (t *pty) close() {
	t.unwatch()
	t.term.Close()
}

// Name implements uart.Port: the pty's slave. It is another one after a hangup by DCD.
func (p *port) Name() string { return p.terminal().Name() }

// terminal is the present one; the lock is not held.
func (p *port) terminal() *terminal.Terminal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term
}

// Fidelity implements uart.Port. It is that of the programs that were started here.
func (p *port) Fidelity() uart.Fidelity { return carried }

// Retire implements uart.Port. Paths that were asked for by --as are gone too.
func (p *port) Retire() error {
	p.host.retire(p)
	return p.claim.Retire()
}

// Close implements uart.Port. The programs' reads return end of file, writes and waiting calls EIO, as on a USB adapter that
// was pulled out. It must not be called from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.host.forget(p)
		p.mu.Lock()
		p.ended = true
		p.wakeUp()
		last := p.pty
		p.mu.Unlock()
		p.closeErr = p.claim.Release() // now that nobody looks who opens the slave: the watcher process does
		last.close()
		p.hanging.Wait()
	})
	return p.closeErr
}

// wakeUp lets every call that waits look again; the lock is held.
func (p *port) wakeUp() {
	if p.sleepers > 0 {
		close(p.wake)
		p.wake = make(chan struct{})
	}
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		term := p.terminal()
		err := term.WaitRead()
		switch {
		case err == nil:
			return p.found.data, p.found.event, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			term.UnpokeReader() // whoever poked has filled the queue before
		case p.isEnded():
			return nil, uart.Event{}, uart.ErrClosed
		case term != p.terminal(): // hung up
		default:
			return nil, uart.Event{}, fmt.Errorf("port %s: read the pty: %w", p.claim.Path(), err)
		}
	}
}

// busy reports whether somebody has the port open, or something of it is not carried on.
func (p *port) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.settle()
	return p.open || p.lent > 0 || !p.queue.Empty()
}

func (p *port) isEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// look puts the next thing that the programs did into p.found and reports whether there was one. It never waits. What is in
// the queue comes before what is still in the pty.
func (p *port) look() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lent > 0 {
		p.lent = 0
		p.wakeUp()
	}
	if p.ended {
		return false
	}
	p.held = time.Time{}
	for {
		if e, ok := p.queue.Event(); ok {
			p.wakeUp() // there is room for another
			p.found = found{event: e}
			return true
		}
		n := p.queue.Take(p.lending[:])
		if n == 0 && p.open {
			n = p.readBytes()
		}
		if n > 0 {
			p.lent = n
			p.found = found{data: p.lending[:n]}
			return true
		}
		if p.queue.Empty() { // else the last close was seen
			return false
		}
	}
}

// readBytes reads the pty into the buffer that Next lends, more than once where much comes; the lock is held.
func (p *port) readBytes() (n int) {
	for {
		m, gone := p.term.ReadMaster(p.lending[n:])
		n += m
		p.counts.tx += int32(m)
		p.written += uint64(m)
		if m > 0 && !p.had { // of one that nobody has seen yet; an open waits
			p.sees()
		}
		if gone && n == 0 {
			p.settle()
			return 0
		}
		if m < readMore || len(p.lending)-n < readSize {
			return n
		}
	}
}

// takeIn moves what is in the pty into the queue; the lock is held.
func (p *port) takeIn() {
	if p.queue.Len() > queueMost {
		p.sayOverrun("changes of settings overtake bytes: too many of them wait for the remote")
		return
	}
	p.takeAll()
}

// takeAll is takeIn whatever waits already.
func (p *port) takeAll() {
	var buf [readSize]byte
	taken := 0
	for taken < drainMost {
		n, _ := p.term.ReadMaster(buf[:])
		if n == 0 {
			break
		}
		p.queue.Push(buf[:n])
		p.counts.tx += int32(n)
		p.written += uint64(n)
		taken += n
	}
	if taken > 0 {
		p.term.PokeReader()
	}
}

// add puts an event behind what the programs have done until now; the lock is held.
func (p *port) add(e uart.Event) {
	p.takeIn()
	p.put(e)
}

// put is add behind what was taken out of the pty until now.
func (p *port) put(e uart.Event) {
	outcome := p.queue.Add(e)
	if outcome.Ready != nil && p.opening != nil {
		// Nobody will hear of this open, so it waits for no session. What Ready does is done here, for Ready takes the lock.
		p.opening.done = true
	}
	if outcome.Moved {
		p.sayOverrun("changes of settings come behind bytes that were written after them: too many of them wait for the remote")
	}
	p.term.PokeReader()
}

// sayOverrun says, once an open, that the order was given up; the lock is held.
func (p *port) sayOverrun(how string) {
	if !p.overrun {
		p.overrun = true
		p.log.Warn(how, "device", p.term.Name())
	}
}

// absolute is the path of a port, as everybody sees it.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil || path == "" {
		return "", errors.New("no path (set the path at which the application finds the port, such as /dev/ttyV0)")
	}
	return abs, nil
}
