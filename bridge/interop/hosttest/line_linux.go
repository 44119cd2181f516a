package hosttest

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// checkDrain: tcdrain waits as long as the far UART needs, so that RTS falls after the last bit has left: with 240 bytes RTS
// stays on about four times as long as with 60.
func checkDrain(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	coding := uart.Coding{Baud: 2400}
	b.set(p, uart.Event{Coding: coding})
	b.talks(p) // the session is up
	if !b.carries(uart.CarriesDrain) {
		checkNoDrain(b, p)
		return
	}
	rtsOn := func(n int) time.Duration {
		b.set(p, uart.Event{Control: uart.Control{RTS: uart.LevelOn}})
		began := time.Now()
		b.writes(p, strings.Repeat("U", n))
		if err := p.drain(); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		b.set(p, uart.Event{Control: uart.Control{RTS: uart.LevelOff}})
		if least := coding.LineTime(n); took < least {
			b.Errorf("RTS fell %v after the first of %d bytes, whose line time is %v", took, n, least)
		}
		b.expect(p, strings.Repeat("U", n))
		return took
	}
	short, long := rtsOn(60), rtsOn(240)
	b.Logf("RTS was on for %v with 60 bytes, %v with 240", short, long)
	if long < short*5/2 || long > 6*short {
		b.Errorf("RTS was on for %v with 240 bytes, %v with 60: want 2.5 to 6 times as long", long, short)
	}
}

// checkNoDrain: tcdrain returns while the far UART is still sending.
func checkNoDrain(b *bench, p *program) {
	b.set(p, uart.Event{Coding: uart.Coding{Baud: 300}})
	text := strings.Repeat("U", 60) // 2 s
	b.writes(p, text)
	if err := p.drain(); err != nil {
		b.Errorf("tcdrain: %v", err)
	}
	if n, err := p.waiting(); err != nil || n == len(text) {
		b.Errorf("%d bytes are back when tcdrain returns (%v), but the host does not claim that tcdrain waits", n, err)
	}
	b.expect(p, text)
}

// checkPurge: tcflush drops what has not left the far UART; if that is not carried, everything leaves.
func checkPurge(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.set(p, uart.Event{Coding: uart.Coding{Baud: 300}})
	b.talks(p)
	text := strings.Repeat("U", 60) // 2 s
	b.writes(p, text)
	text = text[b.begins(p, text):] // so the agent has read all of it: the kernel drops what is still in a pty
	if err := p.purge(uart.PurgeTx); err != nil {
		b.Errorf("tcflush: %v", err)
	}
	const end = "the end"
	b.writes(p, end)
	got := b.until(p, end)
	if whole := got == text; whole == b.carries(uart.CarriesPurge) || !strings.HasPrefix(text, got) {
		b.Errorf("%d of %d bytes came back after tcflush; purge is carried: %v", len(got), len(text), b.carries(uart.CarriesPurge))
	}
}

// checkErrors: with PARMRK a program gets the far UART's errors at the right byte; if they are not carried, the bytes come
// without PARMRK sequences.
func checkErrors(b *bench) {
	script := filepath.Join(b.TempDir(), "inject")
	err := os.WriteFile(script, []byte(`at 3s data "ab"
at 3s parity-error 0x43
at 3s data "de"
at 3s framing-error 0x46
at 3s data "gh"
at 3s break
at 3s data "ij"
`), 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.serve("--simulate", "loopback", "--inject", script)
	b.attach()
	p := b.open()
	if err := p.change(func(tio *unix.Termios) {
		tio.Iflag = unix.PARMRK | unix.INPCK
		tio.Lflag, tio.Oflag = 0, 0
		if b.carries(uart.CarriesParity) {
			tio.Cflag |= unix.PARENB
		}
	}); err != nil {
		b.Fatal(err)
	}
	parmrk := func(f uart.Fidelity, text string) string {
		if b.carries(f) {
			return text
		}
		return ""
	}
	// A break is a PARMRK sequence or the NUL that the far UART received, and not both.
	broke := "\x00"
	if b.carries(uart.CarriesBreakIn) {
		broke = "\xff\x00\x00"
	}
	b.expect(p, "ab"+parmrk(uart.CarriesLineErrors, "\xff\x00")+"Cde"+parmrk(uart.CarriesLineErrors, "\xff\x00")+"Fgh"+broke+"ij")
	var want uart.LineState
	if b.carries(uart.CarriesLineErrors) {
		want |= uart.LineParity | uart.LineFraming
	}
	if b.carries(uart.CarriesBreakIn) {
		want |= uart.LineBreak
	}
	got, err := p.errors()
	if want == 0 {
		b.notCarried("TIOCGICOUNT", err)
	} else if err != nil || got&want != want {
		b.Errorf("TIOCGICOUNT counted %v, %v, want %v", got, err, want)
	}
}

// checkBreak: a break that a program sends reaches the far UART, and the one that comes back arrives as a break. If breaks are
// not carried, nothing comes back.
func checkBreak(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.talks(p)
	if err := p.change(func(tio *unix.Termios) { tio.Iflag = unix.PARMRK }); err != nil {
		b.Fatal(err)
	}
	b.set(p, uart.Event{Control: uart.Control{Break: uart.LevelOn}})
	b.set(p, uart.Event{Control: uart.Control{Break: uart.LevelOff}})
	want := ""
	if b.carries(uart.CarriesBreak) {
		want = "\x00" // the NUL that the far UART received
		if b.carries(uart.CarriesBreakIn) {
			want = "\xff\x00\x00" // or the break, and not both
		}
	}
	const end = "the end"
	b.writes(p, end)
	if got := b.until(p, end); got != want {
		b.Errorf("got %q for a break, want %q", got, want)
	}
	if !b.carries(uart.CarriesBreak | uart.CarriesBreakIn) {
		return
	}
	b.oneNUL(p)
	got, err := p.errors()
	if err != nil || got&uart.LineBreak == 0 {
		b.Errorf("TIOCGICOUNT counted %v, %v, want a break", got, err)
	}
}

// oneNUL: without flags in c_iflag a break reads as exactly one NUL; agetty counts them.
func (b *bench) oneNUL(p *program) {
	if err := p.change(func(tio *unix.Termios) { tio.Iflag = 0 }); err != nil {
		b.Fatal(err)
	}
	b.set(p, uart.Event{Control: uart.Control{Break: uart.LevelOn}})
	b.set(p, uart.Event{Control: uart.Control{Break: uart.LevelOff}})
	const end = "one NUL"
	b.writes(p, end)
	if got := b.until(p, end); got != "\x00" {
		b.Errorf("got %q for a break, want one NUL", got)
	}
}

const (
	outLines = uart.CarriesDTR | uart.CarriesRTS
	allLines = uart.CTS | uart.DSR | uart.RI | uart.DCD
)

// checkLines: RTS and DTR come back through the wires of the loop plug.
func checkLines(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.talks(p)
	if !b.carries(outLines | uart.CarriesModem) {
		b.notCarried("TIOCMSET", p.set(uart.Event{Control: uart.Control{DTR: uart.LevelOff}}))
		_, err := p.modem()
		b.notCarried("TIOCMGET", err)
		return
	}
	for _, step := range []struct {
		control uart.Control
		want    uart.ModemState
	}{
		{uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff}, 0},
		{uart.Control{RTS: uart.LevelOn}, uart.CTS},
		{uart.Control{RTS: uart.LevelOff, DTR: uart.LevelOn}, allLines &^ uart.CTS},
		{uart.Control{RTS: uart.LevelOn}, allLines},
	} {
		b.set(p, uart.Event{Control: step.control})
		b.eventually("modem state "+step.want.String(), func() bool {
			got, err := p.modem()
			return err == nil && got == step.want
		})
	}
}

// checkWaitForLine: a program that waits for a change of a line in TIOCMIWAIT is woken, while another thread of it goes on.
func checkWaitForLine(b *bench) {
	b.serve("--simulate", "loopback")
	b.attach()
	p := b.open()
	b.talks(p)
	if !b.carries(outLines | uart.CarriesModem) {
		b.notCarried("TIOCMIWAIT", p.wait(unix.TIOCM_CTS))
		return
	}
	woken := make(chan error, 1)
	waiter := b.open()
	go func() { woken <- waiter.wait(unix.TIOCM_CTS) }()
	// Nothing shows when it waits, so the line changes until it is woken.
	for on := false; ; on = !on {
		b.set(p, uart.Event{Control: uart.Control{RTS: uart.LevelOf(on)}})
		b.talks(p)
		select {
		case err := <-woken:
			if err != nil {
				b.Errorf("TIOCMIWAIT: %v", err)
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}
