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

// program is a Windows program that has a serial port open, knowing nothing of telnetcpc. Close ends a blocked Read and
// Write.
type program interface {
	io.ReadWriteCloser

	// Set sets what e says of Coding and Control: the line coding by one call of the system, each line by another.
	Set(e uart.Event) error
	// Modem asks for the modem state.
	Modem() (uart.ModemState, error)
}

// expect reads until all of want has come, and fails at the first byte that differs.
func expect(p io.ReadCloser, want []byte) error {
	over := time.AfterFunc(testenv.Patience, func() { _ = p.Close() })
	defer over.Stop()
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
		over.Reset(testenv.Patience)
	}
	return nil
}

// noise is n bytes that do not repeat, and that every run makes alike.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// sentByte is a byte of a program, and the line coding at which it leaves the far UART.
type sentByte struct {
	value  byte
	coding uart.Coding
}

// eventually waits until f has no error any more.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	for end := time.Now().Add(testenv.Patience); ; time.Sleep(2 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("in %v it has not come to be: %s: %v", testenv.Patience, what, err)
		}
	}
}

// same is nil where two values are equal.
func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}
