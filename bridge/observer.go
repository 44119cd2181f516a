package bridge

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// Direction is where bytes and events go.
type Direction string

const (
	Up   Direction = "up"   // from the application to the device
	Down Direction = "down" // from the device to the application
)

// Record is one thing that passed a bridge: bytes, or an event.
type Record struct {
	Time      time.Time
	Direction Direction
	Data      []byte     // a copy; nil: Event is set
	Event     uart.Event // without Ready
}

// Observer receives a bridge's records in order. If its buffer is full, records are dropped and counted: an observer
// cannot slow a port.
type Observer struct {
	records chan Record
	lost    atomic.Uint64
}

// NewObserver returns an observer that buffers up to size records.
func NewObserver(size int) *Observer { return &Observer{records: make(chan Record, size)} }

// Records is the channel of the records; it is never closed.
func (o *Observer) Records() <-chan Record { return o.records }

// Lost returns how many records were dropped because the buffer was full.
func (o *Observer) Lost() uint64 { return o.lost.Load() }

// observers hands records to the observers of a bridge. Without an observer it costs one load of an atomic.
type observers struct {
	mu   sync.Mutex // makes "copy the list, change it, store it" one step
	list atomic.Pointer[[]*Observer]
}

func (os *observers) watch(o *Observer) (stop func()) {
	os.change(func(list []*Observer) []*Observer { return append(list, o) })
	return func() {
		os.change(func(list []*Observer) []*Observer {
			return slices.DeleteFunc(list, func(x *Observer) bool { return x == o })
		})
	}
}

func (os *observers) change(f func([]*Observer) []*Observer) {
	os.mu.Lock()
	defer os.mu.Unlock()
	var list []*Observer
	if old := os.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if list = f(list); len(list) == 0 {
		os.list.Store(nil)
		return
	}
	os.list.Store(&list)
}

func (os *observers) data(d Direction, p []byte) {
	if list := os.list.Load(); list != nil && len(p) > 0 {
		publish(*list, Record{Direction: d, Data: slices.Clone(p)})
	}
}

func (os *observers) event(d Direction, e uart.Event) {
	if list := os.list.Load(); list != nil {
		e.Ready = nil
		publish(*list, Record{Direction: d, Event: e})
	}
}

// publish gives a record to all observers that have room for it.
func publish(list []*Observer, r Record) {
	r.Time = time.Now()
	for _, o := range list {
		select {
		case o.records <- r:
		default:
			o.lost.Add(1)
		}
	}
}
