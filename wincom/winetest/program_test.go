//go:build linux || windows

package winetest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// program is a Windows program that has a serial port open and knows nothing of telnetcpc. Close ends a blocked Read and
// Write.
type program interface {
	io.ReadWriteCloser

	// Set sets e.Coding and e.Control: the line coding with one system call, each line with another.
	Set(e uart.Event) error
	// Modem returns the modem state.
	Modem() (uart.ModemState, error)
}

// expect reads as many bytes as want has, and fails at the first one that differs.
func expect(p io.ReadCloser, want []byte) error {
	timeout := time.AfterFunc(testenv.Patience, func() { _ = p.Close() })
	defer timeout.Stop()
	buf := make([]byte, 16<<10)
	for done := 0; done < len(want); {
		n, err := p.Read(buf[:min(len(buf), len(want)-done)])
		for i, got := range buf[:n] {
			if got != want[done+i] {
				return fmt.Errorf("byte %d of %d: got %#02x, want %#02x", done+i, len(want), got, want[done+i])
			}
		}
		done += n
		if err != nil {
			return fmt.Errorf("read after %d of %d bytes: %w", done, len(want), err)
		}
		timeout.Reset(testenv.Patience)
	}
	return nil
}

// noise returns n pseudo-random bytes, the same in every run.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// sentByte is a byte from a program, with the line coding at which it leaves the far UART.
type sentByte struct {
	value  byte
	coding uart.Coding
}

// eventually polls until f returns no error.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(testenv.Patience); ; time.Sleep(2 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, testenv.Patience, err)
		}
	}
}

// same returns an error unless the values are equal.
func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}
