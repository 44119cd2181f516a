package bridge

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// Way is a direction: up is from the application to the device, down is back.
type Way string

const (
	Up   Way = "up"
	Down Way = "down"
)

// Record is one thing that passed a bridge: bytes, or an event.
type Record struct {
	Time  time.Time
	Way   Way
	Data  []byte     // a copy; nil: Event says what happened
	Event uart.Event // without Ready
}

// Observer is a watcher of a bridge. It gets records in order and loses, counted, what it does not take in time: it
// can never slow a port.
type Observer struct {
	records chan Record
	lost    atomic.Uint64
}

// NewObserver makes an observer that remembers at most size records that were not taken yet.
func NewObserver(size int) *Observer { return &Observer{records: make(chan Record, size)} }

// Records is where the records come from; it is never closed.
func (o *Observer) Records() <-chan Record { return o.records }

// Lost counts the records that were not taken in time.
func (o *Observer) Lost() uint64 { return o.lost.Load() }

// tap hands records to observers. Without one it costs a load of an atomic.
type tap struct {
	mu        sync.Mutex // serialises watch and its stop
	observers atomic.Pointer[[]*Observer]
}

func (t *tap) watch(o *Observer) (stop func()) {
	t.change(func(list []*Observer) []*Observer { return append(list, o) })
	return func() {
		t.change(func(list []*Observer) []*Observer {
			return slices.DeleteFunc(list, func(x *Observer) bool { return x == o })
		})
	}
}

func (t *tap) change(f func([]*Observer) []*Observer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*Observer
	if old := t.observers.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if list = f(list); len(list) == 0 {
		t.observers.Store(nil)
		return
	}
	t.observers.Store(&list)
}

func (t *tap) data(way Way, p []byte) {
	if list := t.observers.Load(); list != nil && len(p) > 0 {
		t.hand(*list, Record{Way: way, Data: slices.Clone(p)})
	}
}

func (t *tap) event(way Way, e uart.Event) {
	if list := t.observers.Load(); list != nil {
		e.Ready = nil
		t.hand(*list, Record{Way: way, Event: e})
	}
}

func (t *tap) hand(list []*Observer, r Record) {
	r.Time = time.Now()
	for _, o := range list {
		select {
		case o.records <- r:
		default:
			o.lost.Add(1)
		}
	}
}
