package ptyhost_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"telnetcpc/bridge/uart"
)

// A script sets the port with one program and writes with the next: what they did is reported in that order, however soon
// the second follows the close of the first.
func TestSetThenWrite(t *testing.T) {
	for _, tt := range []struct {
		name  string
		twice func(b *bench, rate uint32)
	}{
		{"two programs", func(b *bench, rate uint32) {
			script := fmt.Sprintf("stty -F %[1]s %[2]d && echo x >%[1]s", b.path, rate)
			if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}},
		{"one program that opens twice", func(b *bench, rate uint32) {
			p := b.another()
			b.set(p, baud(rate))
			_ = p.Close()
			p = b.another()
			b.writes(p, "x\n")
			_ = p.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := listening(t)
			rounds, rate := often(200), uint32(4800)
			for n := range rounds {
				rate = 14400 - rate // 4800 and 9600 in turn, beginning with the one that the port does not have
				if n == 0 {
					rate = 4800
				}
				tt.twice(b, rate)
				if got := b.untilClosed(); got != "cx" {
					t.Errorf("round %d: got %q, want the change, then the bytes", n, got)
				}
			}
		})
	}
}

// untilClosed takes what the programs did until all have closed: c for a change, and the bytes.
func (b *bench) untilClosed() (got string) {
	b.Helper()
	open := 0
	for {
		switch i := b.take(); i.event.Kind {
		case uart.KindData:
			got += strings.TrimSpace(i.data)
		case uart.KindSettings:
			got += "c"
		case uart.KindOpened:
			open++
		case uart.KindClosed:
			open--
		}
		if open == 0 && strings.Contains(got, "c") && strings.Contains(got, "x") {
			return got
		}
	}
}
