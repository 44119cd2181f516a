package logind

import (
	"context"
	"log/slog"
	"maps"
	"sync"
)

// Sleeper is who has something to do before the machine sleeps.
type Sleeper interface {
	// Sleep is called before the machine sleeps, which waits until it returns.
	Sleep()
	// Wake is called when it has woken, or has not slept after all.
	Wake()
}

// Order is when a sleeper is told that the machine goes to sleep: each of Early has returned before one of Late is called.
// All wake at the same time.
type Order uint8

// The orders.
const (
	Early Order = iota // who needs what the late ones take away: a session that is to end in order
	Late               // who takes something away: a device that is to be unplugged
)

// Watch hears of the machine's sleep as long as somebody wants to know. Any goroutine may use it.
type Watch struct {
	address string

	mu       sync.Mutex // over what follows
	sleepers map[Sleeper]*told
	asleep   bool         // Sleep is called, or was, and Wake not yet
	log      *slog.Logger // of the first whom it matters to that nothing can be heard; nil: it matters to nobody
	trouble  error        // why nothing is heard now; nil: it is, or it is not known yet
	said     bool         // and the log has it

	life   sync.Mutex // makes the beginnings and ends of obey one after the other; held over no Sleep and no Wake
	users  int
	cancel context.CancelFunc
	ended  chan struct{} // closed when obey has returned
}

// told is what one sleeper is told by.
type told struct {
	order Order
	mu    sync.Mutex // over every Sleep and Wake of this one: who comes or goes does not wait for another's
	over  bool       // Remove was called
}

// System is the watch of this process at the system's bus: one connection serves all who have something to do.
func System() *Watch { return system }

var system = New("")

// New returns a watch at the bus of this address, as D-Bus writes them; empty: the system's bus. Nothing happens before
// Add.
func New(address string) *Watch {
	return &Watch{address: address, sleepers: make(map[Sleeper]*told)}
}

// Add has s told of sleep until Remove. It does not wait for the bus, which may come later and go. log gets a line when
// nothing can be heard, and one when it can again; nil: it does not matter to s. Where the machine is on its way to sleep
// Sleep is called at once.
func (w *Watch) Add(s Sleeper, order Order, log *slog.Logger) {
	t := &told{order: order}
	t.mu.Lock() // what comes meanwhile comes after this Sleep
	w.mu.Lock()
	w.sleepers[s] = t
	asleep := w.asleep
	if w.log == nil {
		w.log = log
	}
	w.mu.Unlock()
	w.sayTrouble()
	if asleep {
		s.Sleep()
	}
	t.mu.Unlock()

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
		w.obey(ctx)
	}(w.ended)
}

// Remove ends what Add began. When it has returned s is not called any more: it waits for a Sleep or Wake of s that is under
// way, and for nobody else's. It must not be called from Sleep or Wake.
func (w *Watch) Remove(s Sleeper) {
	w.mu.Lock()
	t := w.sleepers[s]
	delete(w.sleepers, s)
	w.mu.Unlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()

	w.life.Lock()
	defer w.life.Unlock()
	if w.users--; w.users > 0 {
		return
	}
	w.cancel()
	<-w.ended
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log, w.trouble, w.said = nil, nil, false
}

// all calls Sleep or Wake of everyone, and waits for them.
func (w *Watch) all(asleep bool) {
	w.mu.Lock()
	changed := w.asleep != asleep
	w.asleep = asleep
	var everyone map[Sleeper]*told
	if changed {
		everyone = maps.Clone(w.sleepers)
	}
	w.mu.Unlock()
	var calls sync.WaitGroup
	for _, order := range []Order{Early, Late} {
		for s, t := range everyone {
			if t.order == order {
				calls.Go(func() { t.tell(s, asleep) })
			}
		}
		if asleep {
			calls.Wait()
		}
	}
	calls.Wait()
}

// tell calls Sleep or Wake, unless the sleeper was removed.
func (t *told) tell(s Sleeper, asleep bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
	case asleep:
		s.Sleep()
	default:
		s.Wake()
	}
}

// hears notes that logind is heard, or why not, and has it said where that is news.
func (w *Watch) hears(trouble error) {
	w.mu.Lock()
	w.trouble = trouble
	log := w.log
	again := trouble == nil && w.said
	if again {
		w.said = false
	}
	w.mu.Unlock()
	if again {
		log.Info("logind says now when this machine goes to sleep")
	}
	w.sayTrouble()
}

// sayTrouble says once why nothing is heard, where it matters to somebody.
func (w *Watch) sayTrouble() {
	w.mu.Lock()
	log, trouble := w.log, w.trouble
	if log == nil || trouble == nil || w.said {
		w.mu.Unlock()
		return
	}
	w.said = true
	w.mu.Unlock()
	log.Info("logind does not say when this machine goes to sleep", "err", trouble)
}
