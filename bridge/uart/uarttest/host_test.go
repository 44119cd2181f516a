package uarttest_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// The fake host passes the suite that the real ones must pass, with full and with reduced fidelity.
func TestFakeHost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lacks uart.Fidelity
	}{
		{"full fidelity", 0},
		{"as a pty", uart.FullFidelity &^ (uart.CarriesBaud | uart.CarriesStopBits | uart.CarriesFlow | uart.CarriesFlowApart)},
		{"one flow control for both directions", uart.CarriesFlowApart},
		{"bytes alone", uart.FullFidelity},
		{"no drain, no open wait", uart.CarriesDrain | uart.CarriesOpenWait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &uarttest.Host{Lacks: tt.lacks}
			uarttest.TestHost(t, h, &fakePrograms{host: h})
		})
	}
}

// fakePrograms uses fake ports through their App methods. Their paths are mere names.
type fakePrograms struct {
	host *uarttest.Host
	n    atomic.Int64
}

func (f *fakePrograms) Path(*testing.T) string { return fmt.Sprintf("fake%d", f.n.Add(1)) }

func (f *fakePrograms) Virtual() bool { return true }
func (f *fakePrograms) Patient() bool { return true }

func (f *fakePrograms) Open(path string) (uarttest.Program, error) {
	p := f.host.Port(path)
	if p == nil {
		return nil, errors.New("no such port")
	}
	if err := <-p.AppOpen(); err != nil {
		return nil, err
	}
	return &fakeProgram{port: p}, nil
}

type fakeProgram struct {
	port  *uarttest.Port
	close sync.Once
}

func (p *fakeProgram) Read(b []byte) (int, error)  { return p.port.AppRead(b) }
func (p *fakeProgram) Write(b []byte) (int, error) { return p.port.AppWrite(b) }
func (p *fakeProgram) Close() error                { p.close.Do(p.port.AppClose); return nil }
func (p *fakeProgram) Set(e uart.Event) error      { p.port.AppSet(e); return nil }
func (p *fakeProgram) Purge(what uart.Purge) error { p.port.AppPurge(what); return nil }
func (p *fakeProgram) Drain() error                { return p.port.AppDrain() }
func (p *fakeProgram) HangUpOnClose(on bool) error { p.port.AppHUPCL(on); return nil }

func (p *fakeProgram) Modem() (uart.ModemState, error) {
	all := p.port.Modems()
	if len(all) == 0 {
		return 0, nil
	}
	return all[len(all)-1], nil
}

func (p *fakeProgram) LineErrors() (l uart.LineState, err error) {
	for _, r := range p.port.Reports(0) {
		l |= r.State
	}
	return l, nil
}

var _ io.ReadWriteCloser = (*fakeProgram)(nil)
