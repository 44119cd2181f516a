package bridge_test

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"time"

	"telnetcpc/bridge/uart"
)

// The storm's application and its weather.

// application is a program that does anything at any time.
type application struct {
	*storm
	random *rand.Rand
	on     *stormPort // that it has open
	hurry  int        // divides its pauses
}

// pause sleeps for less than ms milliseconds.
func (a *application) pause(ms int) {
	time.Sleep(time.Duration(a.random.IntN(ms)) * time.Millisecond / time.Duration(a.hurry))
}

func (a *application) isOpen() bool { return a.on != nil && !a.on.Closed() }

// steps does n random things, with pauses of all lengths.
func (a *application) steps(n int) {
	for range n {
		if a.still.Load() {
			return
		}
		a.step()
		switch a.random.IntN(12) {
		case 0:
			a.pause(40_000)
		case 1, 2:
			a.pause(3000)
		case 3, 4, 5, 6, 7:
			a.pause(200)
		}
	}
}

var stormCodings = []string{"1200 7E1", "9600 8N1", "19200", "9600", "115200 8N1", "57600 8N2", "460800"}

func (a *application) step() {
	if !a.isOpen() {
		a.on = a.now()
		ready := a.on.AppOpen()
		if a.random.IntN(2) == 0 {
			select {
			case <-ready:
			case <-time.After(2 * time.Second / time.Duration(a.hurry)):
			}
		}
		return
	}
	switch n := a.random.IntN(20); {
	case n < 10:
		size := []int{4, 20, 20, 100, 400, 4096, 20_000}[a.random.IntN(7)]
		if a.random.IntN(40) == 0 {
			size = 200_000
		}
		p := a.on
		a.background(func() { a.write(p, size) })
	case n < 12:
		a.on.AppSet(coding(stormCodings[a.random.IntN(len(stormCodings))]))
	case n < 14:
		a.on.AppSet(lines([]string{"DTR on", "DTR off", "RTS on", "RTS off", "break on", "break off", "DTR on RTS on"}[a.random.IntN(7)]))
	case n < 15:
		a.on.AppPurge(uart.Purge(1 + a.random.IntN(3)))
	case n < 17:
		p := a.on
		a.background(func() { a.drain(p) })
	default:
		a.on.AppClose()
		a.on = nil
	}
}

// background runs a call that may block, and waits for it for a while.
func (a *application) background(call func()) {
	done := make(chan struct{})
	a.calls.Go(func() {
		defer close(done)
		call()
	})
	select {
	case <-done:
	case <-time.After(time.Duration(a.random.IntN(5000)) * time.Millisecond / time.Duration(a.hurry)):
	}
}

// write writes records, unless another write is in progress.
func (a *application) write(p *stormPort, size int) {
	if a.writes.Add(1) > 1 {
		a.writes.Add(-1)
		return
	}
	defer a.writes.Add(-1)
	m := a.model
	m.mu.Lock()
	first := m.next
	m.next += uint32(size / 4)
	m.mu.Unlock()
	data := make([]byte, 0, size)
	for i := range uint32(size / 4) {
		data = binary.BigEndian.AppendUint32(data, first+i)
	}
	m.diary.note("writes records %d to %d", first, first+uint32(size/4)-1)
	n, _ := p.AppWrite(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrote += uint64(n)
	m.lastWrite = time.Now()
}

// drain is tcdrain; it checks whether it returned too early, or too late.
func (a *application) drain(p *stormPort) {
	if !p.Fidelity().Carries(uart.CarriesDrain) {
		return
	}
	a.model.diary.note("drains")
	began, session := time.Now(), a.present()
	err := p.AppDrain()
	a.model.diary.note("has drained: %v", err)
	if err != nil || a.far == nil {
		return
	}
	if away, known := a.model.outage(); known && a.keep() >= 0 {
		if late := time.Since(laterOf(away, began)); late > a.keep()+100*time.Millisecond {
			a.far.set(func() { a.far.fault("a drain returned %v after the session ended", late) })
		}
	}
	if session == nil || a.present() != session || a.writes.Load() > 0 {
		return
	}
	ended := time.Now()
	a.model.mu.Lock()
	beside := ended.Sub(a.model.lastWrite) < moment // a drain cannot know of bytes that are written during its last check
	a.model.mu.Unlock()
	if beside {
		return
	}
	a.far.mu.Lock()
	n, knows := session.sent-session.line.gone(ended), session.know(ended)
	a.far.mu.Unlock()
	if n <= 0 || !knows {
		return
	}
	time.Sleep(moment) // a session that ends at this moment lets drains return, perhaps before it has recorded its end
	if a.present() != session {
		return
	}
	a.far.mu.Lock()
	defer a.far.mu.Unlock()
	if !session.died && !session.fin {
		a.far.fault("a drain returned at %v, %d bytes before the line was empty", clock(ended), n)
	}
}

// present is the session that is up; nil: none is.
func (a *application) present() *stormSession {
	a.model.mu.Lock()
	defer a.model.mu.Unlock()
	if k := len(a.model.links) - 1; k >= 0 && a.model.links[k].end.IsZero() {
		return a.model.links[k].session
	}
	return nil
}

// randomHabits are a server's habits.
func randomHabits(r *rand.Rand) habits {
	h := habits{
		takes:   []time.Duration{0, 0, time.Millisecond, 300 * time.Millisecond, 3 * time.Second, 15 * time.Second}[r.IntN(6)],
		delay:   []int{0, 0, 1, 20, 300, 3000}[r.IntN(6)],
		jitter:  r.IntN(2) == 0,
		send:    []int{64 << 10, 64 << 10, 4 << 10, 400, 1 << 20}[r.IntN(5)],
		receive: []int{64 << 10, 64 << 10, 4 << 10, 400, 1 << 20}[r.IntN(5)],
		ahead:   []int{-1, -1, 4096, 64}[r.IntN(4)],
	}
	switch r.IntN(12) {
	case 0:
		h.noMarks = true
	case 1:
		h.mute = true
	case 2:
		h.blind = true
	case 3:
		h.stays = true
	case 4:
		h.dies = 4 * (1 + r.IntN(5000))
	}
	switch r.IntN(20) {
	case 0:
		h.send = 0
	case 1, 2:
		h.refuse = true
	}
	return h
}

// weather causes faults until the storm is over.
func (s *storm) weather(over chan struct{}) {
	random := rand.New(rand.NewPCG(s.seed, 3))
	fierce := 1 + random.IntN(20)
	for {
		pause := time.Duration(random.IntN(1000*fierce)) * time.Millisecond
		select {
		case <-over:
			return
		case <-time.After(pause):
		}
		if random.IntN(8) == 0 {
			s.model.diary.note("sleep")
			s.bridge.Sleep()
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			s.bridge.Wake()
			continue
		}
		s.far.set(func() { s.fault(random) })
	}
}

// fault is one fault, or the end of one. The caller holds the far's lock.
func (s *storm) fault(random *rand.Rand) {
	f := s.far
	if random.IntN(4) == 0 || len(f.sessions) == 0 {
		f.habits = randomHabits(random)
		return
	}
	x := f.sessions[len(f.sessions)-1]
	if x.died || x.closed {
		return
	}
	n := random.IntN(14)
	f.diary.note("fault %d; stalled %v, silent since %v", n, x.stalled, clock(x.silent))
	switch n {
	case 0:
		x.die(io.EOF)
	case 1:
		x.die(errReset)
	case 2, 3:
		x.stalled = !x.stalled
	case 4:
		x.silent = time.Now()
	case 5, 6:
		x.silent = time.Time{}
	case 7:
		x.deliver(received{event: uart.Event{Kind: uart.KindSuspended}})
	case 8:
		x.deliver(received{event: uart.Event{Kind: uart.KindResumed}})
	case 9, 10:
		x.deliver(received{data: make([]byte, 1+random.IntN(40_000))})
	case 11:
		x.deliver(received{err: io.EOF}) // it ends its half
	case 12:
		x.deliver(received{event: uart.Event{Kind: uart.KindModem, Modem: uart.ModemState(random.IntN(16) << 4)}})
	case 13:
		if x.line.waiting(time.Now()) == 0 && len(x.wire) == 0 && !x.marking {
			x.deliver(received{event: uart.Event{Kind: uart.KindLine, Line: uart.LineTEMT}})
		}
	}
}
