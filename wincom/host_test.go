package wincom_test

import (
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/wincom"
	"telnetcpc/wincom/wincomtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestModelHost: a port on the model of a pair passes the suite for all hosts, with any size of the driver's reads.
func TestModelHost(t *testing.T) {
	for _, maxRead := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("reads of %d", maxRead), func(t *testing.T) {
			m := &models{maxRead: maxRead}
			uarttest.TestHost(t, wincom.On(modelSystem{m}), m)
		})
	}
}

// models is a system that makes pairs on demand, and the programs that use them.
type models struct {
	maxRead int

	mu    sync.Mutex                  // guards pairs
	pairs map[string]*wincomtest.Pair // by the names of both ends
}

// Virtual, Lasting and Exclusive implement uarttest.Programs.
func (*models) Virtual() bool   { return true }
func (*models) Lasting() bool   { return true }
func (*models) Exclusive() bool { return true }

func (m *models) pair(name string) *wincomtest.Pair {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pairs[name]
}

// Path implements uarttest.Programs: each test gets its own pair.
func (m *models) Path(*testing.T) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pairs == nil {
		m.pairs = map[string]*wincomtest.Pair{}
	}
	n := len(m.pairs) / 2
	name, other := fmt.Sprintf("COM%d", 9+n), fmt.Sprintf("CNCB%d", n)
	p := wincomtest.NewPair(name, other)
	p.MaxRead = m.maxRead
	m.pairs[name], m.pairs[other] = p, p
	return name
}

// Open implements uarttest.Programs.
func (m *models) Open(path string) (uarttest.Program, error) {
	a, err := m.pair(path).OpenApplication()
	if err != nil {
		return nil, err
	}
	return &program{Application: a}, nil
}

// modelSystem is the host's view of models.
type modelSystem struct{ *models }

func (modelSystem) Check() error { return nil }

func (m modelSystem) Find(name string) (wincom.Ends, error) {
	p := m.pair(name)
	if p == nil {
		return wincom.Ends{}, wincom.ErrNoPair
	}
	return p.Find(name)
}

func (m modelSystem) Open(name string) (wincom.Device, error) { return m.pair(name).Open(name) }

// program has the application's end open.
type program struct {
	*wincomtest.Application

	mu     sync.Mutex // guards errors
	errors uint32
}

func (p *program) Set(e uart.Event) error {
	if e.Coding != (uart.Coding{}) {
		if err := p.SetCoding(e.Coding); err != nil {
			return err
		}
	}
	p.Lines(e.Control)
	return nil
}

func (*program) Purge(uart.Purge) error { return nil } // the driver does not report it
func (*program) Drain() error           { return nil } // for Windows, what the driver has taken is written

func (p *program) Modem() (uart.ModemState, error) { return p.Application.Modem(), nil }

func (p *program) LineErrors() (l uart.LineState, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors |= p.Errors()
	for bit, state := range map[uint32]uart.LineState{
		wincom.ErrorBreak: uart.LineBreak, wincom.ErrorFraming: uart.LineFraming,
		wincom.ErrorOverrun: uart.LineOverrun, wincom.ErrorParity: uart.LineParity,
	} {
		if p.errors&bit != 0 {
			l |= state
		}
	}
	return l, nil
}
