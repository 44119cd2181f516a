package demo

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/windows"

	"telnetcpc/bridge/uart"
)

// example is a command that a user can try; %s is the port.
const example = "putty -serial %s -sercfg 19200"

// tty is a serial port as an application has it open.
type tty struct {
	*os.File
	handle windows.Handle
}

// openTTY opens a serial port as an application does. The driver keeps what the last program set, so all settings are
// made here.
func openTTY(name string) (*tty, error) {
	path, err := windows.UTF16PtrFromString(`\\.\` + name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OVERLAPPED, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	t := &tty{os.NewFile(uintptr(h), name), h}
	// A read waits for one byte and returns what is there (COMMTIMEOUTS, remarks).
	err = windows.SetCommTimeouts(h, &windows.CommTimeouts{
		ReadIntervalTimeout: math.MaxUint32, ReadTotalTimeoutMultiplier: math.MaxUint32, ReadTotalTimeoutConstant: math.MaxUint32 - 1,
	})
	if err == nil {
		err = t.set(uart.DefaultCoding(), uart.FlowNone)
	}
	if err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("set %s: %w", name, err)
	}
	return t, nil
}

// set sets the baud rate and the stop bits of coding, with 8 data bits and no parity, and raises DTR and RTS. Flow control
// is ignored: com0com does not report it.
func (t *tty) set(coding uart.Coding, _ uart.FlowMethod) error {
	var dcb windows.DCB
	if err := windows.GetCommState(t.handle, &dcb); err != nil {
		return os.NewSyscallError("GetCommState", err)
	}
	const binary = 1 // DCB's fBinary, which Windows wants set
	dcb.Flags = binary | windows.DTR_CONTROL_ENABLE | windows.RTS_CONTROL_ENABLE
	dcb.BaudRate, dcb.ByteSize, dcb.Parity, dcb.StopBits = coding.Baud, 8, windows.NOPARITY, windows.ONESTOPBIT
	if coding.StopBits == uart.Stop2 {
		dcb.StopBits = windows.TWOSTOPBITS
	}
	return os.NewSyscallError("SetCommState", windows.SetCommState(t.handle, &dcb))
}
