package ordered_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// item is one byte, or one event.
type item struct {
	b     byte
	event *uart.Event
}

// model is what a queue promises, as plainly as it can be written: a row of bytes and events.
type model struct {
	items  []item
	merged uint64
	freed  int // opens that nobody will hear of
}

func (m *model) count() (bytes, events int) {
	for _, i := range m.items {
		if i.event != nil {
			events++
		}
	}
	return len(m.items) - events, events
}

func (m *model) push(p []byte) {
	for _, b := range p {
		m.items = append(m.items, item{b: b})
	}
}

// add is the rule of Add: what may merge, and what must when 256 events wait.
func (m *model) add(e uart.Event) {
	_, events := m.count()
	full := events >= 256
	var last *uart.Event
	if n := len(m.items); n > 0 {
		last = m.items[n-1].event
	}
	settings := last != nil && last.Kind == uart.KindSettings && e.Kind == uart.KindSettings
	switch {
	case settings && last.Control == (uart.Control{}) && e.Control == (uart.Control{}):
		last.Coding, last.Flow = e.Coding.Over(last.Coding), e.Flow.Over(last.Flow)
	case settings && full:
		last.Coding, last.Flow = e.Coding.Over(last.Coding), e.Flow.Over(last.Flow)
		last.Control = e.Control.Over(last.Control)
		m.merged++
	case full && last != nil && last.Kind == uart.KindPurge && e.Kind == uart.KindPurge:
		if last.Purge&uart.PurgeTx != 0 && e.Purge&uart.PurgeTx != 0 {
			last.Purges++
		}
		last.Purge |= e.Purge
		m.merged++
	case full && last != nil && last.Kind == uart.KindClosed && e.Kind == uart.KindOpened:
		m.items = m.items[:len(m.items)-1]
		for i := len(m.items) - 1; ; i-- {
			if before := m.items[i].event; before != nil {
				before.Visits += last.Visits + 1
				break
			}
		}
		m.merged++
		m.freed++
	default:
		m.items = append(m.items, item{event: &e})
	}
}

func (m *model) event() (uart.Event, bool) {
	if len(m.items) == 0 || m.items[0].event == nil {
		return uart.Event{}, false
	}
	e := *m.items[0].event
	m.items = m.items[1:]
	return e, true
}

func (m *model) peek() (p []byte) {
	for _, i := range m.items {
		if i.event != nil {
			break
		}
		p = append(p, i.b)
	}
	return p
}

func (m *model) skip(n int) {
	m.items = m.items[n:]
}

func (m *model) drop() {
	m.items = slices.DeleteFunc(m.items, func(i item) bool { return i.event == nil })
}

// bare is an event without what cannot be compared.
func bare(e uart.Event) uart.Event {
	e.Ready = nil
	return e
}

// pair is a queue and its model, which get the same.
type pair struct {
	*testing.T
	rand  *rand.Rand
	queue ordered.Queue
	model model
	lock  sync.Mutex // held over every call of the queue, and taken by Ready, as hosts do
	freed int        // opens whose Ready the queue has had called
}

func (p *pair) bytes(most int) []byte {
	b := make([]byte, p.rand.IntN(most+1))
	for i := range b {
		b[i] = byte(p.rand.Uint32())
	}
	return b
}

func (p *pair) anEvent() uart.Event {
	switch p.rand.IntN(6) {
	case 0:
		return uart.Event{Kind: uart.KindOpened, Ready: func(error) {
			p.lock.Lock()
			defer p.lock.Unlock()
			p.freed++
		}}
	case 1:
		return uart.Event{Kind: uart.KindClosed}
	case 2:
		return uart.Event{Kind: uart.KindPurge, Purge: []uart.Purge{uart.PurgeRx, uart.PurgeTx, uart.PurgeBoth}[p.rand.IntN(3)]}
	case 3:
		return uart.Event{Kind: uart.KindSettings, Control: uart.Control{DTR: uart.LevelOf(p.rand.IntN(2) == 0)}}
	case 4:
		return uart.Event{Kind: uart.KindSettings, Flow: uart.Flow{Out: uart.FlowNone}}
	default:
		return uart.Event{Kind: uart.KindSettings, Coding: uart.Coding{Baud: 300 * uint32(1+p.rand.IntN(9))}}
	}
}

func (p *pair) add() {
	e := p.anEvent()
	p.lock.Lock()
	p.queue.Add(e)
	p.lock.Unlock()
	p.model.add(e)
}

// step does one thing to both, and compares what they answer.
func (p *pair) step(most int) {
	p.Helper()
	switch p.rand.IntN(7) {
	case 0, 1:
		b := p.bytes(most)
		p.queue.Push(b)
		p.model.push(b)
		clear(b) // the queue has copied it
	case 2, 3:
		p.add()
	case 4:
		got, ok := p.queue.Event()
		want, wantOK := p.model.event()
		p.same("Event", fmt.Sprint(bare(got), ok), fmt.Sprint(bare(want), wantOK))
	case 5:
		buf := make([]byte, p.rand.IntN(2*most+1))
		got := buf[:p.queue.Take(buf)]
		want := p.model.peek()
		want = want[:min(len(want), len(buf))]
		p.model.skip(len(want))
		p.same("Take", got, want)
	case 6:
		if p.rand.IntN(8) > 0 {
			return
		}
		p.queue.Drop()
		p.model.drop()
	}
}

func (p *pair) same(what string, got, want any) {
	p.Helper()
	if b, ok := got.([]byte); ok && bytes.Equal(b, want.([]byte)) {
		return
	}
	if !reflect.DeepEqual(got, want) {
		p.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// agree compares all that can be asked without changing anything.
func (p *pair) agree() {
	p.Helper()
	n, events := p.model.count()
	p.same("Len", p.queue.Len(), n)
	p.same("Empty", p.queue.Empty(), n+events == 0)
	freed := func() int {
		p.lock.Lock()
		defer p.lock.Unlock()
		return p.freed
	}
	for end := time.Now().Add(time.Minute); freed() < p.model.freed && time.Now().Before(end); {
		runtime.Gosched()
	}
	p.same("freed opens", freed(), p.model.freed)
}

// Whatever is pushed, added, taken and dropped, and in which order: the queue does what the plain row of bytes and events does.
func TestQueueIsTheModel(t *testing.T) {
	for _, tc := range []struct {
		name   string
		most   int // bytes at a time
		before int // events that are added first
		steps  int
		seeds  int
	}{
		{"few bytes", 4, 0, 400, 100},
		{"many bytes", 3000, 0, 200, 10},
		{"more events than may wait", 4, 600, 400, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range tc.seeds {
				p := &pair{T: t, rand: rand.New(rand.NewPCG(uint64(seed), 0))}
				for range tc.before {
					p.add()
					p.agree()
				}
				if tc.before > 0 && (p.model.merged == 0 || p.model.freed == 0) {
					t.Fatalf("seed %d: nothing was merged for want of room: the test tests nothing", seed)
				}
				for range tc.steps {
					p.step(tc.most)
					p.agree()
				}
				p.same("Merged", p.queue.Merged(), p.model.merged)
				p.same("Merged again", p.queue.Merged(), uint64(0))
			}
		})
	}
}
