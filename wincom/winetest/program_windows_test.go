package winetest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/windows"

	"telnetcpc/bridge/uart"
)

// openProgram opens a port as a program does.
func openProgram(via, name string) (program, error) {
	switch via {
	case viaLibrary:
		return openLibrary(name)
	case viaWindows:
		return openWindows(name)
	}
	return nil, fmt.Errorf("unknown way to use a port: %q", via)
}

// libraryProgram uses a port through go.bug.st/serial.
type libraryProgram struct {
	serial.Port
	mu     sync.Mutex // guards coding
	coding uart.Coding
}

func openLibrary(name string) (*libraryProgram, error) {
	p, err := serial.Open(name, &serial.Mode{})
	if err != nil {
		return nil, err
	}
	return &libraryProgram{Port: p, coding: uart.DefaultCoding()}, nil
}

var libraryParity = map[uart.Parity]serial.Parity{
	uart.ParityNone: serial.NoParity, uart.ParityOdd: serial.OddParity, uart.ParityEven: serial.EvenParity,
	uart.ParityMark: serial.MarkParity, uart.ParitySpace: serial.SpaceParity,
}

var libraryStop = map[uart.StopBits]serial.StopBits{
	uart.Stop1: serial.OneStopBit, uart.Stop1Half: serial.OnePointFiveStopBits, uart.Stop2: serial.TwoStopBits,
}

func (p *libraryProgram) Set(e uart.Event) error {
	if e.Coding != (uart.Coding{}) {
		p.mu.Lock()
		p.coding = e.Coding.Over(p.coding)
		c := p.coding
		p.mu.Unlock()
		if err := p.SetMode(&serial.Mode{BaudRate: int(c.Baud), DataBits: int(c.DataBits), Parity: libraryParity[c.Parity], StopBits: libraryStop[c.StopBits]}); err != nil {
			return err
		}
	}
	if e.Control.Break != 0 {
		return errors.New("the library cannot keep a break on")
	}
	var errs []error
	if e.Control.DTR != 0 {
		errs = append(errs, p.SetDTR(e.Control.DTR == uart.LevelOn))
	}
	if e.Control.RTS != 0 {
		errs = append(errs, p.SetRTS(e.Control.RTS == uart.LevelOn))
	}
	return errors.Join(errs...)
}

func (p *libraryProgram) Modem() (uart.ModemState, error) {
	bits, err := p.GetModemStatusBits()
	if err != nil {
		return 0, err
	}
	var m uart.ModemState
	for _, line := range []struct {
		on  bool
		bit uart.ModemState
	}{{bits.CTS, uart.CTS}, {bits.DSR, uart.DSR}, {bits.RI, uart.RI}, {bits.DCD, uart.DCD}} {
		if line.on {
			m |= line.bit
		}
	}
	return m, nil
}

// windowsProgram uses a port through the system's own calls. Its methods may be called from several goroutines. It does not
// use os.File, whose writes wait for a pending read.
type windowsProgram struct {
	handle windows.Handle
	closed sync.Once
}

func openWindows(name string) (*windowsProgram, error) {
	path, err := windows.UTF16PtrFromString(`\\.\` + name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OVERLAPPED, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	// A read waits for one byte and returns what there is (COMMTIMEOUTS, remarks).
	if err := windows.SetCommTimeouts(h, &windows.CommTimeouts{
		ReadIntervalTimeout: math.MaxUint32, ReadTotalTimeoutMultiplier: math.MaxUint32, ReadTotalTimeoutConstant: math.MaxUint32 - 1,
	}); err != nil {
		_ = windows.CloseHandle(h)
		return nil, fmt.Errorf("SetCommTimeouts of %s: %w", name, err)
	}
	p := &windowsProgram{handle: h}
	// The handshake persists from the previous program. This one wants DTR and RTS on.
	if err := p.change(func(dcb *windows.DCB) {
		const dtrControl, rtsControl = 0x30, 0x3000 // DCB's fDtrControl and fRtsControl
		dcb.Flags = dcb.Flags&^(dtrControl|rtsControl) | windows.DTR_CONTROL_ENABLE | windows.RTS_CONTROL_ENABLE
	}); err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// change changes the DCB with one SetCommState.
func (p *windowsProgram) change(f func(dcb *windows.DCB)) error {
	var dcb windows.DCB
	if err := windows.GetCommState(p.handle, &dcb); err != nil {
		return fmt.Errorf("GetCommState: %w", err)
	}
	f(&dcb)
	if err := windows.SetCommState(p.handle, &dcb); err != nil {
		return fmt.Errorf("SetCommState: %w", err)
	}
	return nil
}

// overlapped makes a call that may complete later, and waits for it.
func (p *windowsProgram) overlapped(call func(o *windows.Overlapped) error) (n uint32, err error) {
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = windows.CloseHandle(event) }()
	o := windows.Overlapped{HEvent: event}
	if err := call(&o); err != nil && !errors.Is(err, windows.ERROR_IO_PENDING) {
		return 0, err
	}
	// Wait for the event first: Wine's serial ports leave an error in o while the request is pending.
	if _, err := windows.WaitForSingleObject(event, windows.INFINITE); err != nil {
		return 0, err
	}
	err = windows.GetOverlappedResult(p.handle, &o, &n, true)
	return n, err
}

func (p *windowsProgram) Read(b []byte) (int, error) {
	n, err := p.overlapped(func(o *windows.Overlapped) error { return windows.ReadFile(p.handle, b, nil, o) })
	return int(n), err
}

func (p *windowsProgram) Write(b []byte) (int, error) {
	n, err := p.overlapped(func(o *windows.Overlapped) error { return windows.WriteFile(p.handle, b, nil, o) })
	return int(n), err
}

// Close implements program: the driver cancels pending requests. Idempotent.
func (p *windowsProgram) Close() (err error) {
	p.closed.Do(func() { err = windows.CloseHandle(p.handle) })
	return err
}

var windowsParity = map[uart.Parity]uint8{
	uart.ParityNone: windows.NOPARITY, uart.ParityOdd: windows.ODDPARITY, uart.ParityEven: windows.EVENPARITY,
	uart.ParityMark: windows.MARKPARITY, uart.ParitySpace: windows.SPACEPARITY,
}

var windowsStop = map[uart.StopBits]uint8{
	uart.Stop1: windows.ONESTOPBIT, uart.Stop1Half: windows.ONE5STOPBITS, uart.Stop2: windows.TWOSTOPBITS,
}

func (p *windowsProgram) Set(e uart.Event) error {
	if c := e.Coding; c != (uart.Coding{}) {
		if err := p.change(func(dcb *windows.DCB) {
			if c.Baud != 0 {
				dcb.BaudRate = c.Baud
			}
			if c.DataBits != 0 {
				dcb.ByteSize = c.DataBits
			}
			if c.Parity != 0 {
				dcb.Parity = windowsParity[c.Parity]
			}
			if c.StopBits != 0 {
				dcb.StopBits = windowsStop[c.StopBits]
			}
		}); err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
	}
	for _, line := range []struct {
		level   uart.Level
		on, off uint32
	}{
		{e.Control.DTR, windows.SETDTR, windows.CLRDTR},
		{e.Control.RTS, windows.SETRTS, windows.CLRRTS},
		{e.Control.Break, windows.SETBREAK, windows.CLRBREAK},
	} {
		function := line.on
		switch line.level {
		case 0:
			continue
		case uart.LevelOff:
			function = line.off
		}
		if err := windows.EscapeCommFunction(p.handle, function); err != nil {
			return fmt.Errorf("EscapeCommFunction %d: %w", function, err)
		}
	}
	return nil
}

// modemBits are MS_CTS_ON and the like, of GetCommModemStatus.
var modemBits = map[uint32]uart.ModemState{0x10: uart.CTS, 0x20: uart.DSR, 0x40: uart.RI, 0x80: uart.DCD}

func (p *windowsProgram) Modem() (m uart.ModemState, err error) {
	var status uint32
	if err := windows.GetCommModemStatus(p.handle, &status); err != nil {
		return 0, fmt.Errorf("GetCommModemStatus: %w", err)
	}
	for bit, line := range modemBits {
		if status&bit != 0 {
			m |= line
		}
	}
	return m, nil
}

// errs returns the errors since the previous call, as CE_ bits.
func (p *windowsProgram) errs() (uint32, error) {
	var bits uint32
	err := windows.ClearCommError(p.handle, &bits, nil)
	return bits, err
}

// waitEvent waits for one of the EV_ events in mask, like a program that waits for a line to change. It calls began once it
// is waiting. It gives up after within.
func (p *windowsProgram) waitEvent(mask uint32, within time.Duration, began func()) (uint32, error) {
	if err := windows.SetCommMask(p.handle, mask); err != nil {
		return 0, fmt.Errorf("SetCommMask: %w", err)
	}
	var got uint32
	timeout := time.AfterFunc(within, func() { _ = windows.SetCommMask(p.handle, mask) }) // ends the wait without an event
	defer timeout.Stop()
	_, err := p.overlapped(func(o *windows.Overlapped) error {
		err := windows.WaitCommEvent(p.handle, &got, o)
		began()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("WaitCommEvent: %w", err)
	}
	if got == 0 && wine && timeout.Stop() {
		return mask, nil // on a busy machine Wine wakes a program and loses the event
	}
	return got, nil
}
