package wincom_test

import (
	"encoding/binary"
	"math"
	"os"
	"sync"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/wincom"
)

// needPair returns the application's end of a pair that the test may use: that of the stand-in driver in Wine
// (TELNETCPC_C0SIM, which only wincom/winetest sets), or a real one that its owner names (TELNETCPC_COM0COM=COM9). Without
// either it skips: no test uses a pair that nobody has named.
func needPair(t testing.TB) string {
	t.Helper()
	if name := os.Getenv("TELNETCPC_COM0COM"); name != "" {
		return name
	}
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it needs a pair of its own: the stand-in driver's (TELNETCPC_C0SIM, which only wincom/winetest sets), or a com0com pair named by TELNETCPC_COM0COM=COM9")
	}
	return "COM9"
}

// TestPairHost: the host of this Windows passes the suite for all hosts.
func TestPairHost(t *testing.T) {
	uarttest.TestHost(t, wincom.New(), &realPrograms{name: needPair(t)})
}

// realPrograms are programs that use one pair, one after the other.
type realPrograms struct{ name string }

// Virtual, Lasting and Exclusive implement uarttest.Programs.
func (*realPrograms) Virtual() bool   { return true }
func (*realPrograms) Lasting() bool   { return true }
func (*realPrograms) Exclusive() bool { return true }

// Path implements uarttest.Programs. A port's settings persist after a program: each test starts with the same ones.
func (r *realPrograms) Path(t *testing.T) string {
	t.Helper()
	p, err := r.Open(r.name)
	if err != nil {
		t.Fatalf("open %s (is it open elsewhere?): %v", r.name, err)
	}
	if err := p.Set(uart.Event{Coding: uart.DefaultCoding()}); err != nil {
		t.Errorf("set the coding of %s: %v", r.name, err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("close %s: %v", r.name, err)
	}
	return r.name
}

// Open implements uarttest.Programs. No handshake, DTR and RTS on, and reads that return as soon as there is a byte.
func (*realPrograms) Open(path string) (uarttest.Program, error) {
	dev, err := wincom.OpenDevice(path)
	if err != nil {
		return nil, err
	}
	p := &realProgram{dev: dev, coding: uart.DefaultCoding()}
	const control = 1 << 6 // SERIAL_RTS_CONTROL; SERIAL_DTR_CONTROL is 1
	for _, r := range []struct {
		code  wincom.Ioctl
		words []uint32
	}{
		{wincom.SetTimeouts, []uint32{math.MaxUint32, math.MaxUint32, math.MaxUint32 - 1, 0, 0}},
		{wincom.SetHandFlow, []uint32{1, control, 0, 0}},
	} {
		if err := p.request(r.code, r.words...); err != nil {
			_ = dev.Close()
			return nil, err
		}
	}
	return p, nil
}

// realProgram has a port open, as a handle of Windows.
type realProgram struct {
	dev wincom.Device

	mu     sync.Mutex // guards the rest
	coding uart.Coding
	errors uint32
}

func (p *realProgram) request(code wincom.Ioctl, words ...uint32) error {
	var in []byte
	for _, w := range words {
		in = binary.LittleEndian.AppendUint32(in, w)
	}
	_, err := p.dev.Ioctl(code, in, nil)
	return err
}

func (p *realProgram) Write(b []byte) (int, error) { return p.dev.Write(b) }
func (p *realProgram) Close() error                { return p.dev.Close() }

func (p *realProgram) Read(b []byte) (n int, err error) {
	for n == 0 && err == nil {
		n, err = p.dev.Read(b, -1)
	}
	return n, err
}

// Set implements uarttest.Program: the requests that SetCommState makes of the driver, and one for both lines.
func (p *realProgram) Set(e uart.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Coding != (uart.Coding{}) {
		c := e.Coding.Over(p.coding)
		p.coding = c
		if err := p.request(wincom.SetBaudRate, c.Baud); err != nil {
			return err
		}
		stops := map[uart.StopBits]byte{uart.Stop1: 0, uart.Stop1Half: 1, uart.Stop2: 2}
		if _, err := p.dev.Ioctl(wincom.SetLineControl, []byte{stops[c.StopBits], byte(c.Parity - uart.ParityNone), c.DataBits}, nil); err != nil {
			return err
		}
	}
	if err := p.lines(e.Control); err != nil {
		return err
	}
	switch e.Control.Break {
	case uart.LevelOn:
		return p.request(wincom.SetBreakOn)
	case uart.LevelOff:
		return p.request(wincom.SetBreakOff)
	}
	return nil
}

func (p *realProgram) lines(c uart.Control) error {
	var value, mask wincom.Output
	for o, l := range map[wincom.Output]uart.Level{wincom.OutDTR: c.DTR, wincom.OutRTS: c.RTS} {
		if l != 0 {
			mask |= o
		}
		if l == uart.LevelOn {
			value |= o
		}
	}
	if mask == 0 {
		return nil
	}
	_, err := p.dev.Ioctl(wincom.SetModemControl, wincom.AppendModemControl(nil, value, mask), nil)
	return err
}

// Purge implements uarttest.Program: PurgeComm.
func (p *realProgram) Purge(what uart.Purge) error {
	var bits uint32
	if what&uart.PurgeRx != 0 {
		bits |= wincom.PurgeRxAbort | wincom.PurgeRxClear
	}
	if what&uart.PurgeTx != 0 {
		bits |= wincom.PurgeTxAbort | wincom.PurgeTxClear
	}
	return p.request(wincom.Purge, bits)
}

// Drain implements uarttest.Program. FlushFileBuffers has nothing to wait for: the driver completes a write once
// it has taken the bytes.
func (p *realProgram) Drain() error { return nil }

func (p *realProgram) Modem() (uart.ModemState, error) {
	var m [4]byte
	_, err := p.dev.Ioctl(wincom.GetModemStatus, nil, m[:])
	return uart.ModemState(m[0]), err
}

// LineErrors implements uarttest.Program: ClearCommError.
func (p *realProgram) LineErrors() (l uart.LineState, err error) {
	var s [20]byte
	_, err = p.dev.Ioctl(wincom.GetCommStatus, nil, s[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors |= binary.LittleEndian.Uint32(s[:])
	for bit, state := range map[uint32]uart.LineState{
		wincom.ErrorBreak: uart.LineBreak, wincom.ErrorFraming: uart.LineFraming,
		wincom.ErrorOverrun: uart.LineOverrun, wincom.ErrorParity: uart.LineParity,
	} {
		if p.errors&bit != 0 {
			l |= state
		}
	}
	return l, err
}

// BenchmarkPairRoundTrip is one byte from a program to the port and back.
func BenchmarkPairRoundTrip(b *testing.B) {
	name := needPair(b)
	programs := &realPrograms{name: name}
	port, err := wincom.New().Open(b.Context(), uart.PortConfig{Path: name})
	if err != nil {
		b.Fatal(err)
	}
	defer port.Close()
	p, err := programs.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	go func() { // ends with the port
		for {
			data, _, err := port.Next()
			if err == nil && len(data) > 0 {
				_, err = port.Write(data)
			}
			if err != nil {
				return
			}
		}
	}()
	one := make([]byte, 1)
	for b.Loop() {
		if _, err := p.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Read(one); err != nil {
			b.Fatal(err)
		}
	}
}
