package winetest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// insert is IOCTL_SERIAL_LSRMST_INSERT (ntddser.h), which com0com extends. Its bytes are spelled out here, independently of
// wincom.
const insert = 0x1B007C

// request returns an extended request: the escape character, the signature and the options.
func request(escape byte, options uint32) []byte {
	return append([]byte{escape}, 'c', '0', 'c', 0, byte(options), byte(options>>8), byte(options>>16), byte(options>>24))
}

func (p *windowsProgram) ioctl(code uint32, in []byte, size int) ([]byte, error) {
	out := make([]byte, size)
	n, err := p.overlapped(func(o *windows.Overlapped) error {
		return windows.DeviceIoControl(p.handle, code, &in[0], uint32(len(in)), &out[0], uint32(len(out)), nil, o)
	})
	return out[:n], err
}

// expectHex reads from the port and compares with want, in hex.
func (p *windowsProgram) expectHex(want string) error {
	wanted, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
	if err != nil {
		return err
	}
	timeout := time.AfterFunc(testenv.Patience, func() { _ = p.Close() })
	defer timeout.Stop()
	got := make([]byte, 0, len(wanted))
	for len(got) < len(wanted) && bytes.HasPrefix(wanted, got) {
		b := make([]byte, len(wanted)-len(got))
		n, err := p.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			return fmt.Errorf("after % x: %w", got, err)
		}
	}
	if !bytes.Equal(got, wanted) {
		return fmt.Errorf("got % x, want % x", got, wanted)
	}
	return nil
}

// checkDriver: the pair behaves as com0com 3.0.0.0 was measured to behave, with the pins of `telnetcpc pair add`. It opens
// both ends itself: no agent may be running.
func checkDriver(t *testing.T) {
	name := os.Getenv(pairVariable)
	pairs, err := wincom.Pairs()
	if err != nil {
		t.Fatal(err)
	}
	pair, _ := wincom.FindPair(pairs, name)
	_, other, ok := pair.Of(name)
	if !ok {
		t.Fatalf("%s is not an end of a com0com pair (telnetcpc pair list)", name)
	}
	if !pair.Ours() {
		t.Fatalf("%s is an end of a pair with other pins than telnetcpc pair add sets, which this test needs", name)
	}
	ours, err := openWindows(other.Name)
	if err != nil {
		t.Fatalf("%v (does an agent have it open?)", err)
	}
	defer ours.Close()
	quiet := uart.Event{
		Coding:  uart.Coding{Baud: 9600, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1},
		Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff},
	}
	if err := ours.Set(quiet); err != nil {
		t.Fatal(err)
	}
	program, err := openWindows(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	start := uart.Event{Coding: uart.Coding{Baud: 1200, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1}, Control: quiet.Control}
	if err := program.Set(start); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"capabilities", request(0xff, 0xffffffff), "63 30 63 00 03 07 00 03"},
		{"values", request(0xff, 0x03000703), "ff 02 60 ff 03 80 ff 10 b0 04 00 00 ff 11 07 02 00"}, // DCD: the other end is open
	} {
		got, err := ours.ioctl(insert, tt.in, 64)
		if want, _ := hex.DecodeString(strings.ReplaceAll(tt.want, " ", "")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got % x, %v, want % x", tt.name, got, err, want)
		}
	}
	for _, step := range []struct {
		does func() error
		want string
	}{
		{func() error { return program.Set(uart.Event{Control: uart.Control{DTR: uart.LevelOn}}) }, "ff 03 a2"},
		{func() error { return program.Set(uart.Event{Control: uart.Control{RTS: uart.LevelOn}}) }, "ff 03 b1"},
		{func() error {
			return program.Set(uart.Event{Coding: uart.Coding{Baud: 19200, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop2}})
		}, "ff 10 00 4b 00 00 ff 11 07 02 02"},
		{func() error { return program.Set(uart.Event{Coding: quiet.Coding.Over(uart.Coding{})}) }, "ff 10 80 25 00 00 ff 11 08 00 00"},
		{func() error { return wrote(program.Write([]byte("\x01\xff\x02\xff\x00"))) }, "01 ff 00 02 ff 00 00"},
		{func() error { return program.Set(uart.Event{Control: uart.Control{Break: uart.LevelOn}}) }, "ff 01 f9 00"},
		{func() error { return program.Set(uart.Event{Control: uart.Control{Break: uart.LevelOff}}) }, "ff 02 60"},
		{func() error { return program.Set(uart.Event{Control: uart.Control{DTR: uart.LevelOff}}) }, "ff 03 92"},
		{func() error { return program.Set(uart.Event{Control: uart.Control{RTS: uart.LevelOff}}) }, "ff 03 81"},
		{program.Close, "ff 03 08"},
	} {
		if err := step.does(); err != nil {
			t.Fatal(err)
		}
		if err := ours.expectHex(step.want); err != nil {
			t.Fatalf("before %q: %v", step.want, err)
		}
	}
}

// wrote drops Write's count.
func wrote(_ int, err error) error { return err }
