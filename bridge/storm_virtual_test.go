package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// The storm in virtual time: an application that does anything, at any time, with servers on their worst days. Each
// seed is a storm of some minutes; TELNETCPC_STORM_SEED repeats one, TELNETCPC_STORM_TIME sets how long to go on.

func TestStormVirtual(t *testing.T) {
	if seed := os.Getenv("TELNETCPC_STORM_SEED"); seed != "" {
		n, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(seed, func(t *testing.T) { runStorm(t, n) })
		return
	}
	storms := 0
	for began := time.Now(); time.Since(began) < stormTime(t, 15*time.Second); storms++ {
		seed := uint64(storms)
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runStorm(t, seed) })
	}
	t.Logf("%d storms", storms)
}

// stormTime is how long a storm lasts.
func stormTime(t *testing.T, usual time.Duration) time.Duration {
	if testing.Short() {
		return usual / 10
	}
	text := os.Getenv("TELNETCPC_STORM_TIME")
	if text == "" {
		return usual
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func runStorm(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		s := newStorm(t, seed)
		s.blow()
		s.judge()
	})
}

// storm is one bridge on its worst days.
type storm struct {
	*testing.T
	seed   uint64
	random *rand.Rand // of the policy and of blow
	far    *stormFar
	model  *model
	policy bridge.Policy
	lacks  uart.Fidelity
	bridge *bridge.Bridge
	cancel context.CancelFunc
	result chan error
	calls  sync.WaitGroup // calls of the application that may block
	writes atomic.Int32   // writes in progress
	still  atomic.Bool    // the application has stopped

	mu   sync.Mutex
	port *stormPort
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{
		T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), model: &model{}, result: make(chan error, 1),
	}
	s.far = newStormFar(seed, &s.model.diary)
	pick := s.random.IntN
	second := time.Second
	s.policy = bridge.Policy{
		OnLoss:  []bridge.OnLoss{bridge.OnLossHold, bridge.OnLossHold, bridge.OnLossHold, bridge.OnLossDiscard, bridge.OnLossHangup}[pick(5)],
		HoldFor: []*time.Duration{nil, nil, new(time.Duration(0)), new(100 * time.Millisecond), new(30 * second), new(bridge.Forever)}[pick(6)],
		Linger:  []*time.Duration{nil, nil, new(time.Duration(0)), new(20 * second)}[pick(4)],
		DCD:     []bridge.DCD{bridge.DCDDevice, bridge.DCDLink}[pick(2)],
	}
	if pick(6) == 0 {
		s.policy.Connect = bridge.ConnectAlways
	}
	s.lacks = []uart.Fidelity{
		0, 0, uart.CarriesDrain, uart.CarriesPurge, uart.CarriesDTR | uart.CarriesRTS,
		uart.CarriesDrain | uart.CarriesPurge | uart.CarriesOpenWait | uart.CarriesDTR | uart.CarriesRTS | uart.CarriesModem,
	}[pick(6)]
	s.far.habits = randomHabits(s.random)
	s.bridge = bridge.New(bridge.Config{
		Name: "ttyV0", Path: "/dev/ttyV0", Remote: s.far, Policy: s.policy, Log: slog.New(watch{s.model, s.far}), Open: s.open,
	})
	return s
}

func (s *storm) open(_ context.Context, c uart.PortConfig) (uart.Port, error) {
	p := uarttest.NewPort(c)
	p.SetFidelity(uart.FullFidelity &^ s.lacks)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.model.mu.Lock()
	defer s.model.mu.Unlock()
	s.model.coding = uart.DefaultCoding()
	next := uint32(0)
	if s.port != nil {
		next = s.port.next
	}
	s.port = &stormPort{Port: p, m: s.model, next: next}
	return s.port, nil
}

func (s *storm) now() *stormPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// blow is the storm: the application and the weather, perhaps calm at the end, and the shutdown.
func (s *storm) blow() {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(s.Context())
	go func() { s.result <- s.bridge.Run(ctx) }()
	synctest.Wait()
	var all sync.WaitGroup
	over := make(chan struct{})
	all.Go(func() { s.weather(over) })
	all.Go(func() { s.read(over) })
	app := &application{storm: s, random: rand.New(rand.NewPCG(s.seed, 2)), hurry: 1}
	steps := 5 + s.random.IntN(60)
	app.steps(steps)
	switch s.random.IntN(3) {
	case 0: // the shutdown comes in the middle
		all.Go(func() { app.steps(20) })
		time.Sleep(time.Duration(s.random.IntN(3000)) * time.Millisecond)
	case 1:
		close(over)
		all.Wait()
		s.calm(app)
	case 2:
		close(over)
		all.Wait()
		s.nobody(app)
	}
	began := time.Now()
	s.cancel()
	err := <-s.result
	if took := time.Since(began); err != nil || took > 20*time.Second {
		s.Errorf("Run ended after %v: %v", took, err)
	}
	select {
	case <-over:
	default:
		close(over)
	}
	s.still.Store(true)
	s.far.set(func() { s.far.over = true })
	all.Wait()
	s.calls.Wait()
	time.Sleep(moment) // a timer's call may be in progress
	synctest.Wait()
}

// good are the habits of a server on a good day.
var good = habits{send: 64 << 10, receive: 64 << 10, ahead: -1}

// calm ends all faults: what is written then is sent.
func (s *storm) calm(app *application) {
	s.sun()
	s.calls.Go(func() {
		buf := make([]byte, 64<<10)
		for !s.still.Load() {
			if _, err := s.now().AppRead(buf); err != nil {
				time.Sleep(100 * time.Millisecond)
			}
		}
	})
	for range 3 { // it may hang up meanwhile
		if !app.isOpen() {
			s.now().AppOpen()
			app.on = s.now()
		}
		time.Sleep(time.Minute)
	}
	for end := time.Now().Add(6 * time.Hour); s.writes.Load() > 0; time.Sleep(time.Second) {
		if time.Now().After(end) {
			s.Fatalf("the storm is over, and a write does not return: %+v", s.bridge.Status())
		}
	}
	s.model.mu.Lock()
	first := s.model.next
	s.model.mu.Unlock()
	wrote := make(chan struct{})
	s.calls.Go(func() {
		app.write(app.on, 400)
		close(wrote)
	})
	for end := time.Now().Add(6 * time.Hour); ; time.Sleep(time.Second) {
		s.far.mu.Lock()
		last := uint32(0)
		for _, x := range s.far.sessions {
			if n := len(x.given); n > 0 {
				last = x.given[n-1].last
			}
		}
		s.far.mu.Unlock()
		if last == first+99 {
			break
		}
		if time.Now().After(end) {
			s.Errorf("the storm is over, and what is written is not sent: %+v", s.bridge.Status())
			break
		}
	}
}

// sun ends all faults.
func (s *storm) sun() {
	s.bridge.Wake()
	s.far.set(func() {
		s.far.habits = good
		for _, x := range s.far.sessions {
			x.stalled, x.silent, x.habits.send, x.habits.dies = false, time.Time{}, max(x.habits.send, 4096), 0
			x.deliver(received{event: uart.Event{Kind: uart.KindResumed}})
		}
	})
}

// nobody closes the port while the server is unreachable: the dials must end.
func (s *storm) nobody(app *application) {
	s.sun()
	s.far.set(func() {
		s.far.habits.refuse = true
		for _, x := range s.far.sessions {
			x.die(errReset)
		}
	})
	for app.isOpen() {
		s.now().AppClose()
		app.on = nil
	}
	time.Sleep(2 * time.Minute)
	count := func() int {
		s.far.mu.Lock()
		defer s.far.mu.Unlock()
		return len(s.far.dials)
	}
	before := count()
	time.Sleep(10 * time.Minute)
	got := s.bridge.Status()
	if s.policy.Connect == bridge.ConnectAlways || got.Held > 0 && s.policy.HoldFor != nil && *s.policy.HoldFor == bridge.Forever {
		return
	}
	if after := count(); after != before || got.Link != bridge.LinkIdle {
		s.Errorf("no session is wanted, but %d dials in 10 minutes, %+v", after-before, got)
	}
}

// keep is HoldFor; 0 if the policy does not hold, negative if it holds for ever.
func (s *storm) keep() time.Duration {
	switch hold := s.policy.HoldFor; {
	case s.policy.OnLoss != bridge.OnLossHold:
		return 0
	case hold == nil:
		return bridge.DefaultHoldFor
	case *hold == bridge.Forever:
		return -1
	default:
		return *hold
	}
}

func (s *storm) judge() {
	got := s.bridge.Status()
	v := &verdict{m: s.model, f: s.far, keep: s.keep(), drain: s.lacks&uart.CarriesDrain == 0}
	for _, wrong := range v.judge(got.UpDropped) {
		s.Error(wrong)
	}
	atTheClose := s.model.closed.Sub(s.model.lastWrite) < moment // what is written as the port closes may be lost
	if purges := s.lacks&uart.CarriesPurge == 0; !purges && !atTheClose && s.policy.OnLoss != bridge.OnLossHangup && s.model.wrote != s.model.taken {
		s.Errorf("%d bytes were written, the bridge has taken %d", s.model.wrote, s.model.taken)
	}
	unread := uint64(0)
	for _, st := range s.model.links { // the result of a canceled dial belongs to no session
		unread += uint64(st.session.unread)
	}
	if sum := got.DownBytes + got.DownDropped; sum != s.far.down+unread {
		s.Errorf("of %d bytes of the device, %d of them never read, %d are counted", s.far.down+unread, unread, sum)
	}
	if s.Failed() {
		s.Logf("%+v lacks %v\n%s", s.policy, s.lacks, &s.model.diary)
	}
}

// read is the application's reader, with its moods. It ends when the storm is over.
func (s *storm) read(over chan struct{}) {
	random := rand.New(rand.NewPCG(s.seed, 4))
	lazy := random.IntN(4) == 0
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Duration(1+random.IntN(500)) * time.Millisecond):
		}
		if lazy && random.IntN(100) > 0 {
			continue
		}
		p := s.now()
		done := make(chan struct{})
		n := 1 + random.IntN(4096)
		s.calls.Go(func() {
			defer close(done)
			_, _ = p.AppRead(make([]byte, n))
		})
		select {
		case <-done:
		case <-over:
			return
		}
	}
}
