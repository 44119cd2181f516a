package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
)

// echo is a far whose device sends back each byte once it has left the line; what it does and when is recorded.
type echo struct {
	*far
	way time.Duration // in each direction
	ok  bool          // the device answers a line with OK, as a modem does

	mu    sync.Mutex
	given []gift
	came  []gift // what Next was about to return
	ends  map[*echoSession]time.Time
	last  *echoSession
	under int // bytes that had not left the line when DTR fell
}

// gift is bytes, and when they passed.
type gift struct {
	p  []byte
	at time.Time
	s  *echoSession
}

func newEcho(way time.Duration) *echo {
	e := &echo{far: newFar(), way: way, ends: map[*echoSession]time.Time{}}
	e.far.paced, e.far.delay = true, func() time.Duration { return way }
	return e
}

type echoSession struct {
	*farSession
	echo *echo
	back chan gift
	gone chan struct{}
	once sync.Once
}

func (e *echo) Dial(ctx context.Context, m uart.LineState) (uart.Session, error) {
	s, err := e.far.Dial(ctx, m)
	if err != nil {
		return nil, err
	}
	n := &echoSession{farSession: s.(*farSession), echo: e, back: make(chan gift, 1<<16), gone: make(chan struct{})}
	e.mu.Lock()
	e.last = n
	e.mu.Unlock()
	go n.answers() // ends with the session
	return n, nil
}

func (s *echoSession) answers() {
	for {
		select {
		case g := <-s.back:
			select {
			case <-time.After(time.Until(g.at)):
				s.send(g.p)
			case <-s.gone:
				return
			}
		case <-s.gone:
			return
		}
	}
}

func (s *echoSession) Write(p []byte) (int, error) {
	now := time.Now()
	n, err := s.farSession.Write(p)
	s.echo.mu.Lock()
	s.echo.given = append(s.echo.given, gift{bytes.Clone(p[:n]), now, s})
	s.echo.mu.Unlock()
	if n > 0 {
		s.far.mu.Lock()
		last := s.line.sent[len(s.line.sent)-1]
		s.far.mu.Unlock()
		for i := range n {
			reply := bytes.Clone(p[i : i+1])
			if p[i] == '\n' && s.echo.ok {
				reply = append(reply, "OK\n"...)
			}
			s.back <- gift{reply, last.begin.Add(time.Duration(i+1)*last.each + s.echo.way + time.Microsecond), s}
		}
	}
	return n, err
}

func (s *echoSession) Apply(e uart.Event) error {
	if e.Control.DTR == uart.LevelOff {
		s.echo.mu.Lock()
		s.echo.under += s.waiting()
		s.echo.mu.Unlock()
	}
	return s.farSession.Apply(e)
}

func (s *echoSession) Next() ([]byte, uart.Event, error) {
	p, e, err := s.farSession.Next()
	if len(p) > 0 {
		s.echo.mu.Lock()
		s.echo.came = append(s.echo.came, gift{bytes.Clone(p), time.Now(), s})
		s.echo.mu.Unlock()
	}
	return p, e, err
}

func (s *echoSession) ended() {
	s.once.Do(func() {
		close(s.gone)
		s.echo.mu.Lock()
		defer s.echo.mu.Unlock()
		s.echo.ends[s] = time.Now()
	})
}

func (s *echoSession) CloseWrite() error { s.ended(); return s.farSession.CloseWrite() }
func (s *echoSession) Close() error      { s.ended(); return s.farSession.Close() }

// breaks ends the current session as a reset does: what has arrived can still be read.
func (e *echo) breaks() {
	e.mu.Lock()
	s := e.last
	e.mu.Unlock()
	if s != nil {
		s.lose(errReset)
		s.ended()
	}
}

// visited is one visit of a program: what it read, and when it was there.
type visited struct {
	opened, closed time.Time
	read           []byte
}

// may is what a visit may read, and must: what the device has sent while it lasted, except what came before everything
// written in earlier visits can have left the line, and what came from a session that had ended before it. All that is
// written is tagged with its visit.
func (e *echo) may(n int, v visited, written []int) (want []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.came {
		if c.at.Before(v.opened) || !c.at.Before(v.closed) {
			continue
		}
		if end, over := e.ends[c.s]; over && end.Before(v.opened) {
			continue
		}
		before, gone := 0, time.Time{}
		for _, g := range e.given {
			if g.at.After(c.at) || int(g.p[0]) >= n {
				continue
			}
			before += len(g.p)
			if g.s == c.s {
				if gone.Before(g.at) {
					gone = g.at
				}
				gone = gone.Add(uart.DefaultCoding().LineTime(len(g.p)))
			}
		}
		all := 0
		for _, w := range written[:n] {
			all += w
		}
		if before < all || c.at.Before(gone) {
			continue
		}
		want = append(want, c.p...)
	}
	return want
}

// TestWhatTheNextVisitReads: programs come, write and go in any rhythm, over any delay; on a host with lines, which
// fall at the close, and on one without; the remote is lost now and then. Each program reads what the device answers to
// it, and of the answers to earlier ones only what comes later than their last byte can have left the line.
func TestWhatTheNextVisitReads(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { visits(t, rand.New(rand.NewPCG(14, seed))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func visits(t *testing.T, random *rand.Rand) {
	e := newEcho(time.Duration(random.IntN(3)) * 40 * time.Millisecond)
	lacks := []uart.Fidelity{
		0, uart.CarriesDrain, uart.CarriesDrain | uart.CarriesDTR | uart.CarriesRTS,
		uart.CarriesDrain | uart.CarriesDTR | uart.CarriesRTS | uart.CarriesOrder,
	}[random.IntN(4)]
	hold := bridge.Forever
	b := start(t, bridge.Policy{HoldFor: &hold}, e, lacks)
	p := b.port()
	ns := func(most time.Duration) time.Duration { return time.Duration(random.Int64N(int64(most))) }
	var all []visited
	var written []int
	for n := range 24 {
		v := visited{opened: time.Now()}
		p.AppOpen()
		read := make(chan []byte)
		go func() {
			var got []byte
			buf := make([]byte, 4096)
			for {
				m, err := p.AppRead(buf)
				if got = append(got, buf[:m]...); errors.Is(err, io.EOF) {
					read <- got
					return
				}
			}
		}()
		if random.IntN(2) == 0 {
			p.AppSet(lines("DTR on RTS on"))
		}
		sum := 0
		for range random.IntN(3) {
			time.Sleep(ns(30 * time.Millisecond))
			k := 1 + random.IntN(1+400*random.IntN(2))
			b.write(string(bytes.Repeat([]byte{byte(n)}, k)))
			sum += k
		}
		written = append(written, sum)
		switch random.IntN(3) {
		case 0:
			time.Sleep(ns(time.Second))
		case 1:
			time.Sleep(ns(20 * time.Millisecond))
		}
		synctest.Wait()
		v.closed = time.Now()
		p.AppClose()
		v.read = <-read
		all = append(all, v)
		switch random.IntN(7) {
		case 0:
			time.Sleep(5 * time.Second) // the session ends
		case 6:
			e.breaks()
			time.Sleep(ns(200 * time.Millisecond))
		case 1, 2:
			time.Sleep(ns(time.Second))
		default:
			time.Sleep(ns(3 * time.Millisecond))
		}
	}
	time.Sleep(10 * time.Second)
	for n, v := range all {
		want := e.may(n, v, written)
		if !lacks.Carries(uart.CarriesDTR) && !bytes.Equal(v.read, want) && inPart(v.read, want) && own(v.read, n) == own(want, n) {
			continue // up waits with the fall of several closes; what comes meanwhile belongs to no visit
		}
		if lacks.Carries(uart.CarriesOrder) && inPart(want, v.read) {
			continue // while a close is announced and not seen, only time counts
		}
		if !bytes.Equal(v.read, want) {
			t.Errorf("visit %d of %d (way %v, lacks %v) read %d bytes, want %d: %v, want %v", n, len(all), e.way, lacks, len(v.read), len(want), tags(v.read), tags(want))
		}
	}
	b.end()
}

// TestAnswerToTheOneBefore: echo AT > PORT; head -1 < PORT gets the whole answer, however slow the line and the network
// are, also if the session was made for it alone.
func TestAnswerToTheOneBefore(t *testing.T) {
	for _, way := range []time.Duration{0, 7 * time.Millisecond, 400 * time.Millisecond} {
		for _, lacks := range []uart.Fidelity{0, uart.CarriesDrain, uart.CarriesDrain | uart.CarriesDTR | uart.CarriesRTS} {
			for _, again := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					e := newEcho(way)
					e.ok, e.takes = true, 300*time.Millisecond
					b := start(t, bridge.Policy{}, e, lacks)
					p := b.port()
					if again { // a session is up already
						p.AppOpen()
						time.Sleep(time.Second)
						p.AppClose()
					}
					p.AppOpen()
					p.AppSet(coding("1200 8N1"))
					p.AppSet(lines("DTR on RTS on"))
					b.write("AT\n")
					p.AppClose()
					p.AppOpen()
					var got []byte
					time.AfterFunc(10*time.Second, p.AppClose)
					for !bytes.HasSuffix(got, []byte("OK\n")) {
						buf := make([]byte, 64)
						n, err := p.AppRead(buf)
						if got = append(got, buf[:n]...); err != nil {
							t.Errorf("way %v, lacks %v, again %v: read %q", way, lacks, again, got)
							break
						}
					}
					if e.under > 0 {
						t.Errorf("way %v, lacks %v, again %v: DTR fell before %d bytes had left the line", way, lacks, again, e.under)
					}
					b.end()
				})
			}
		}
	}
}

// inPart reports whether p is all with some elements left out.
func inPart(p, all []byte) bool {
	for _, c := range all {
		if len(p) > 0 && p[0] == c {
			p = p[1:]
		}
	}
	return len(p) == 0
}

// own is how many bytes answer this visit.
func own(p []byte, n int) int { return bytes.Count(p, []byte{byte(n)}) }

// tags are the different bytes, and how often each occurs.
func tags(p []byte) (all [][2]int) {
	for _, c := range p {
		if i := len(all) - 1; i >= 0 && all[i][0] == int(c) {
			all[i][1]++
			continue
		}
		all = append(all, [2]int{int(c), 1})
	}
	return slices.Clip(all)
}
