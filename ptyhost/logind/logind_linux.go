package logind

import (
	"context"
	"log/slog"
	"maps"
	"sync"
)

// Sleeper is implemented by whatever has something to do before the machine sleeps.
type Sleeper interface {
	// Sleep is called before the machine sleeps. The sleep waits until it returns, as far as logind does.
	Sleep()
	// Wake is called after the machine has woken, or if it has not slept after all.
	Wake()
}

// Order is the order of the calls of Sleep: every Early one has returned before a Late one is called. Wake is called for all at
// the same time.
type Order uint8

// The orders.
const (
	Early Order = iota // for what needs things that a Late one removes: a session that ends in order
	Late               // for what removes things: a device that is unplugged
)

// Watch watches the machine's sleep as long as it has a Sleeper. Its methods may be called from any goroutine.
type Watch struct {
	address string

	mu       sync.Mutex // guards this group
	sleepers map[Sleeper]*calls
	asleep   bool         // Sleep has been called, and Wake has not
	log      *slog.Logger // the first that Add got; nil: none
	trouble  error        // why no signals come now; nil: they do, or that is not known yet
	logged   bool         // trouble has been logged

	life   sync.Mutex // guards this group: serialises starts and ends of run; never held over a Sleep or Wake
	users  int        // Add without Remove
	cancel context.CancelFunc
	ended  chan struct{} // closed when run has returned
}

// calls makes the calls of one Sleeper.
type calls struct {
	order   Order
	mu      sync.Mutex // held over each Sleep and Wake of this one: Add and Remove of others do not wait for it
	removed bool
}

// System returns the watch of this process on the system bus: one connection serves all sleepers.
func System() *Watch { return system }

var system = New("")

// New returns a watch on the bus at a D-Bus address; empty: the system bus. Nothing happens before Add.
func New(address string) *Watch {
	return &Watch{address: address, sleepers: make(map[Sleeper]*calls)}
}

// Add calls s before and after sleep, until Remove. It does not wait for the bus, which may start later, and end. log gets a line
// when logind cannot be heard, and one when it can again; nil: s does not need it. If the machine is about to sleep, Add calls
// Sleep at once.
func (w *Watch) Add(s Sleeper, order Order, log *slog.Logger) {
	c := &calls{order: order}
	c.mu.Lock() // calls that come meanwhile come after this Sleep
	w.mu.Lock()
	w.sleepers[s] = c
	asleep := w.asleep
	if w.log == nil {
		w.log = log
	}
	w.mu.Unlock()
	w.logTrouble()
	if asleep {
		s.Sleep()
	}
	c.mu.Unlock()

	w.life.Lock()
	defer w.life.Unlock()
	if w.users++; w.users > 1 {
		return
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	w.ended = make(chan struct{})
	go func(ended chan struct{}) { // until the last Remove
		defer close(ended)
		w.run(ctx)
	}(w.ended)
}

// Remove ends the calls of s. It waits for a Sleep or Wake of s that is under way, and for no other one; after that s is not
// called any more. It must not be called from Sleep or Wake.
func (w *Watch) Remove(s Sleeper) {
	w.mu.Lock()
	c := w.sleepers[s]
	delete(w.sleepers, s)
	w.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	c.removed = true
	c.mu.Unlock()

	w.life.Lock()
	defer w.life.Unlock()
	if w.users--; w.users > 0 {
		return
	}
	w.cancel()
	<-w.ended
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log, w.trouble, w.logged = nil, nil, false
}

// setAsleep calls every Sleep or Wake if asleep has changed, and waits for them.
func (w *Watch) setAsleep(asleep bool) {
	w.mu.Lock()
	changed := w.asleep != asleep
	w.asleep = asleep
	var all map[Sleeper]*calls
	if changed {
		all = maps.Clone(w.sleepers)
	}
	w.mu.Unlock()
	var running sync.WaitGroup
	for _, order := range []Order{Early, Late} {
		for s, c := range all {
			if c.order == order {
				running.Go(func() { c.call(s, asleep) })
			}
		}
		if asleep {
			running.Wait()
		}
	}
	running.Wait()
}

// call calls Sleep or Wake, unless the sleeper was removed.
func (c *calls) call(s Sleeper, asleep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.removed:
	case asleep:
		s.Sleep()
	default:
		s.Wake()
	}
}

// setTrouble records that logind is heard (nil), or why not, and logs a change.
func (w *Watch) setTrouble(trouble error) {
	w.mu.Lock()
	w.trouble = trouble
	log := w.log
	again := trouble == nil && w.logged
	if again {
		w.logged = false
	}
	w.mu.Unlock()
	if again {
		log.Info("logind announces now when this machine goes to sleep")
	}
	w.logTrouble()
}

// logTrouble logs once why logind is not heard, if a sleeper needs it.
func (w *Watch) logTrouble() {
	w.mu.Lock()
	log, trouble := w.log, w.trouble
	if log == nil || trouble == nil || w.logged {
		w.mu.Unlock()
		return
	}
	w.logged = true
	w.mu.Unlock()
	log.Info("logind does not announce when this machine goes to sleep", "err", trouble)
}
