package hosttest

import (
	_ "embed"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// codings returns the matrix: 5, 7 and 8 data bits, five parities, 1 and 2 stop bits, at 9600 baud.
func codings() (all []uart.Coding) {
	// Mark and space come last: ser2net (gensio 2.6) never clears CMSPAR.
	for parity := uart.ParityNone; parity <= uart.ParitySpace; parity++ {
		for _, bits := range []uint8{5, 7, 8} {
			for _, stop := range []uart.StopBits{uart.Stop1, uart.Stop2} {
				all = append(all, uart.Coding{Baud: 9600, DataBits: bits, Parity: parity, StopBits: stop})
			}
		}
	}
	return all
}

// bauds are rates that every program supports.
var bauds = []uint32{300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}

// arrives returns the coding that the far end has after c is set: a part that is not carried keeps its initial value.
func (b *bench) arrives(c uart.Coding) uart.Coding {
	for feature, part := range map[uart.Fidelity]func(*uart.Coding){
		uart.CarriesDataBits: func(c *uart.Coding) { c.DataBits = 8 },
		uart.CarriesParity:   func(c *uart.Coding) { c.Parity = uart.ParityNone },
		uart.CarriesStopBits: func(c *uart.Coding) { c.StopBits = uart.Stop1 },
	} {
		if !b.carries(feature) {
			part(&c)
		}
	}
	return c
}

// sttyWords returns the arguments of stty that set a coding.
func sttyWords(c uart.Coding) []string {
	words := []string{fmt.Sprint(c.Baud), fmt.Sprintf("cs%d", c.DataBits)}
	words = append(words, map[uart.StopBits]string{uart.Stop1: "-cstopb", uart.Stop2: "cstopb"}[c.StopBits])
	return append(words, map[uart.Parity][]string{
		uart.ParityNone:  {"-parenb", "-parodd", "-cmspar"},
		uart.ParityOdd:   {"parenb", "parodd", "-cmspar"},
		uart.ParityEven:  {"parenb", "-parodd", "-cmspar"},
		uart.ParityMark:  {"parenb", "parodd", "cmspar"},
		uart.ParitySpace: {"parenb", "-parodd", "cmspar"},
	}[c.Parity]...)
}

// checkStty: a coding that stty sets is in force at the far end for the bytes after it, and stty, which reads it back, exits
// with 0. If a part is not carried, stty fails.
func checkStty(b *bench) {
	b.serve("--simulate", "reporter")
	b.attach()
	p := b.open()
	all := codings()
	for _, baud := range bauds {
		all = append(all, uart.Coding{Baud: baud, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1})
	}
	for _, c := range all {
		want := b.arrives(c)
		status, out := b.runs("", append([]string{"stty", "-F", b.path}, sttyWords(c)...)...)
		if (status == 0) != (want == c) {
			b.Errorf("stty %v: status %d, %s", c, status, out)
		}
		b.writes(p, "ask\n")
		// The line itself has lost bits if the coding has 5 data bits.
		if reply := b.until(p, "\n"); !strings.HasSuffix(reply, " "+want.String()) {
			b.Errorf("stty set %v, want %v: the far end has %q", c, want, reply)
		}
	}
}

//go:embed testdata/matrix.py
var matrix string

// checkPyserial: the same for every line coding that python3-serial can set.
func checkPyserial(b *bench) {
	b.serve("--simulate", "reporter")
	b.attach()
	command := []string{"/usr/bin/python3", "-", b.path}
	for _, f := range b.host.Fidelity.Features() {
		command = append(command, f.String())
	}
	if status, out := b.runs(matrix, command...); status != 0 {
		b.Errorf("pyserial: %s", out)
	}
}

// checkShell: several programs share the port that their shell has open.
func checkShell(b *bench) {
	b.serve("--simulate", "reporter")
	b.attach()
	status, out := b.runs("", "sh", "-ec", `
		exec 3<>"$0"
		for baud in 19200 2400 115200; do
			stty $baud <&3
			# If the order is not carried exactly, the first reply may have the previous coding.
			for round in 1 2; do
				echo ask >&3
				read reply <&3
			done
			echo "$reply"
		done`, b.path)
	if want := "ask 19200 8N1\nask 2400 8N1\nask 115200 8N1\n"; status != 0 || out != want {
		b.Errorf("the script exited with %d and printed %q, want %q", status, out, want)
	}
}

// checkFlow: the choice of flow control reaches the far UART.
func checkFlow(b *bench) {
	far := b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.talks(p)
	for i, flow := range []uart.Flow{
		{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS},
		{Out: uart.FlowXonXoff, In: uart.FlowXonXoff},
		{Out: uart.FlowNone, In: uart.FlowNone},
	} {
		coding := uart.Coding{Baud: uint32(1200 + i)} // identifies the log line
		b.set(p, uart.Event{Coding: coding, Flow: flow})
		b.prints(far, fmt.Sprintf(`coding="%d 8N1"`, coding.Baud), "flow="+flow.String())
	}
}

// checkAlternations: a hundred lines, with a change of the line coding after each (TCSADRAIN), without a pause. Each line
// leaves the far UART with the coding that was in force when it was written. Without exact order, all lines arrive and the
// last change is in force at the end.
func checkAlternations(b *bench) {
	b.serve("--simulate", "reporter")
	b.attach()
	p := b.open()
	const rounds = 100
	baud := func(i int) uint32 { return 19200 << (i % 2) }
	b.set(p, uart.Event{Coding: uart.Coding{Baud: baud(0)}})
	for i := range rounds {
		b.writes(p, fmt.Sprintf("line %d\n", i))
		tio, err := p.termios()
		if err != nil {
			b.Fatal(err)
		}
		tio.Cflag = tio.Cflag&^unix.CBAUD | unix.BOTHER
		tio.Ispeed, tio.Ospeed = baud(i+1), baud(i+1)
		if err := p.setTermios(unix.TCSETSW2, tio); err != nil {
			b.Fatal(err)
		}
	}
	b.writes(p, "last\n")
	lines := strings.Split(strings.TrimSuffix(b.until(p, "last "), "\n"), "\n")
	if len(lines) != rounds {
		b.Fatalf("got %d lines, want %d", len(lines), rounds)
	}
	misplaced := 0
	for i, got := range lines {
		want := func(baud uint32) string { return fmt.Sprintf("line %d %d 8N1", i, baud) }
		switch {
		case got == want(baud(i)):
		case got == want(baud(i+1)) && !b.carries(uart.CarriesOrder):
			misplaced++
		default:
			b.Fatalf("got %q, want %q", got, want(baud(i)))
		}
	}
	b.Logf("%d of %d lines left with another coding", misplaced, rounds)
	want := fmt.Sprintf("%d 8N1", baud(rounds))
	got := b.until(p, "\n")
	for again := 0; got != want && again < 100 && !b.carries(uart.CarriesOrder); again++ {
		b.writes(p, "last\n")
		_, got, _ = strings.Cut(b.until(p, "\n"), " ")
	}
	if got != want {
		b.Errorf("at the end the far end has %q, want %q", got, want)
	}
}
