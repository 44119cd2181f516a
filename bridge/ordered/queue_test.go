package ordered_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// item is one byte, or one event.
type item struct {
	b     byte
	event *uart.Event
}

// model is a Queue in its plainest form: one row of bytes and events.
type model struct {
	items  []item
	merged uint64
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

// lastOf is the index of the last event of a kind, and whether bytes came after it; -1 if there is none since the last open or
// close or, with past, none at all.
func (m *model) lastOf(k uart.Kind, past bool) (index int, bytesAfter bool) {
	for i := len(m.items) - 1; i >= 0; i-- {
		switch e := m.items[i].event; {
		case e == nil:
			bytesAfter = true
		case e.Kind == k:
			return i, bytesAfter
		case !past && (e.Kind == uart.KindOpened || e.Kind == uart.KindClosed):
			return -1, false
		}
	}
	return -1, false
}

// remove takes an item out.
func (m *model) remove(i int) uart.Event {
	e := *m.items[i].event
	m.items = slices.Delete(slices.Clone(m.items), i, i+1)
	return e
}

// add is the rule of Add: what may merge, and what must if so many events wait.
func (m *model) add(e uart.Event) (swallowed, moved bool) {
	_, events := m.count()
	crowded, full, brim := events >= 256, events >= 264, events >= 1024
	merge := func(earlier uart.Event) uart.Event {
		if e.Kind == uart.KindPurge {
			if earlier.Purge&uart.PurgeTx != 0 && e.Purge&uart.PurgeTx != 0 {
				earlier.Purges++
			}
			earlier.Purge |= e.Purge
			return earlier
		}
		if earlier.Control != (uart.Control{}) && e.Control != (uart.Control{}) {
			m.merged++
		}
		earlier.Coding, earlier.Flow = e.Coding.Over(earlier.Coding), e.Flow.Over(earlier.Flow)
		earlier.Control = e.Control.Over(earlier.Control)
		return earlier
	}
	switch i, after := m.lastOf(e.Kind, brim); {
	case e.Kind == uart.KindOpened:
		i, after = m.lastOf(uart.KindClosed, false)
		if i < 0 || !full || after && !brim {
			break
		}
		visits := m.remove(i).Visits + 1
		at := i
		for j := range m.items { // the event before it, else the one after
			if m.items[j].event != nil && (j < i || at == i) {
				at = j
			}
			if j >= i && m.items[at].event != nil {
				break
			}
		}
		m.items[at].event.Visits += visits
		m.merged++
		return true, false
	case i < 0 || e.Kind == uart.KindClosed:
	case !after:
		last := m.items[i].event
		plain, bare := e.Control == (uart.Control{}), last.Control == (uart.Control{}) && i == len(m.items)-1
		ok := full || e.Kind == uart.KindPurge && crowded || e.Kind == uart.KindSettings && plain && (crowded || bare)
		if !ok {
			break
		}
		*last = merge(*last)
		return false, false
	case brim:
		e = merge(m.remove(i))
		moved = true
	}
	m.items = append(m.items, item{event: &e})
	return false, moved
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

// bare is an event without its function, which cannot be compared.
func bare(e uart.Event) uart.Event {
	e.Ready = nil
	return e
}

// pair is a queue and its model, to which the same is done.
type pair struct {
	*testing.T
	rand  *rand.Rand
	queue ordered.Queue
	model model
	open  bool // opens and closes alternate
	// How many opens were merged away, how many changes moved, how often the queue was full.
	freed, moved, full int
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
	case 0, 1:
		p.open = !p.open
		if !p.open {
			return uart.Event{Kind: uart.KindClosed}
		}
		return uart.Event{Kind: uart.KindOpened, Ready: func(error) { p.freed++ }}
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

func (p *pair) add(e uart.Event) {
	p.Helper()
	held, merged := p.queue.Full(e), p.model.merged
	_, before := p.model.count()
	got := p.queue.Add(e)
	swallowed, moved := p.model.add(e)
	p.same("Ready", got.Ready != nil, swallowed)
	p.same("Moved", got.Moved, moved)
	if got.Moved {
		p.moved++
	}
	if got.Ready != nil {
		freed := p.freed
		got.Ready(nil)
		p.same("the open's own Ready", p.freed, freed+1)
	}
	_, after := p.model.count()
	if costs := after > before || moved || p.model.merged > merged; before >= 256 && e.Kind != uart.KindPurge && costs && !held {
		p.Fatalf("%v, as event %d: it costs something, but nobody is to be held for it", e, before)
	}
	if held {
		p.full++
		if before < 256 {
			p.Fatalf("%v is to be held at %d events", e, before)
		}
	}
}

// step does one thing to both and compares the results.
func (p *pair) step(most int) {
	p.Helper()
	switch p.rand.IntN(7) {
	case 0, 1:
		b := p.bytes(most)
		p.queue.Push(b)
		p.model.push(b)
		clear(b) // the queue has copied it
	case 2, 3:
		p.add(p.anEvent())
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

// agree compares everything that can be read without a change.
func (p *pair) agree() {
	p.Helper()
	n, events := p.model.count()
	p.same("Len", p.queue.Len(), n)
	p.same("Empty", p.queue.Empty(), n+events == 0)
}

// Whatever is done to a Queue, and in which order, it does what the plain row of bytes and events does.
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
		{"as many as ever", 4, 3000, 400, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range tc.seeds {
				p := &pair{T: t, rand: rand.New(rand.NewPCG(uint64(seed), 0))}
				for range tc.before {
					if p.rand.IntN(4) == 0 && tc.before > 1000 {
						p.queue.Push([]byte("x"))
						p.model.push([]byte("x"))
					}
					p.add(p.anEvent())
					p.agree()
				}
				if tc.before > 0 && (p.model.merged == 0 || p.freed == 0 || p.full == 0) {
					t.Fatalf("seed %d: nothing was merged for want of room: the test tests nothing", seed)
				}
				if tc.before > 1000 && p.moved == 0 {
					t.Fatalf("seed %d: nothing was moved for want of room: the test tests nothing", seed)
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
