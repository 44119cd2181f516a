package vmtest

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

//go:embed testdata/matrix.py
var matrix string

// checkMatrix: every line coding that python3-serial can ask for is in force at the far end when the bytes behind it are
// there; and it finds the port.
func checkMatrix(t *testing.T) {
	serve(t, "--simulate", "reporter")
	attach(t)
	runs(t, matrix, "/usr/bin/python3", "-", port)
}

// checkKill: an agent that is killed leaves no device, the program sees its port go, and the next agent takes the path.
func checkKill(t *testing.T) {
	serve(t, "--simulate", "loopback")
	agent := attach(t)
	device, err := filepath.EvalSymlinks(port)
	if err != nil {
		t.Fatal(err)
	}
	program := open(t)
	read := make(chan error, 1)
	go func() {
		_, err := program.Read(make([]byte, 1))
		read <- err
	}()
	agent.end(unix.SIGKILL)
	if err := <-read; err == nil {
		t.Error("the program's read got a byte")
	}
	eventually(t, "the device is gone", func() bool {
		_, err := os.Stat(device)
		return err != nil
	})
	if _, err := program.Write([]byte("x")); err == nil {
		t.Error("the program's write succeeded")
	}
	if text, err := os.Readlink(port); err != nil || !strings.HasSuffix(text, filepath.Base(device)) {
		t.Errorf("the dead agent's link: %q, %v", text, err)
	}
	// The program still holds the old device: the new one has another number.
	again := attachAgain(t, device)
	fresh := open(t)
	talks(t, fresh)
	_ = fresh.Close()
	again.end(os.Interrupt)
	if _, err := os.Lstat(port); err == nil {
		t.Error("the agent left its link behind")
	}
}

// attachAgain is attach where a dead agent's link is still there.
func attachAgain(t *testing.T, old string) *process {
	t.Helper()
	p := start(t, telnetcpc(), "attach", "--host", "kernel", port, server)
	eventually(t, "the new port is there", func() bool {
		if p.ended() {
			t.Fatalf("the agent ended: %s", p.out.String())
		}
		device, err := filepath.EvalSymlinks(port)
		return err == nil && device != old
	})
	return p
}

// open opens the agents' port until the check ends.
func open(t *testing.T) *uarttest.TTYProgram {
	t.Helper()
	p, err := uarttest.OpenTTY(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// talks sends a line through a loop plug.
func talks(t *testing.T, p *uarttest.TTYProgram) {
	t.Helper()
	const text = "is anybody there?\r\n"
	if _, err := p.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	expect(t, p, text)
}

// expect reads what must come.
func expect(t *testing.T, p *uarttest.TTYProgram, want string) {
	t.Helper()
	over := time.AfterFunc(patience, func() { _ = p.Close() })
	defer over.Stop()
	var got []byte
	b := make([]byte, 4096)
	for len(got) < len(want) && strings.HasPrefix(want, string(got)) {
		n, err := p.Read(b)
		if err != nil {
			t.Fatalf("read after %q of %q: %v", got, want, err)
		}
		got = append(got, b[:n]...)
	}
	if string(got) != want {
		t.Fatalf("read %q, want %q", got, want)
	}
}

// checkDrain: tcdrain waits as long as the far UART needs, so that RTS falls when the last bit has left: 240 bytes hold
// it some four times as long as 60.
func checkDrain(t *testing.T) {
	serve(t, "--simulate", "loopback")
	attach(t)
	program := open(t)
	coding := uart.Coding{Baud: 2400}
	set(t, program, uart.Event{Coding: coding})
	talks(t, program) // the session stands
	held := func(n int) time.Duration {
		set(t, program, uart.Event{Control: uart.Control{RTS: uart.LevelOn}})
		began := time.Now()
		if _, err := program.Write([]byte(strings.Repeat("U", n))); err != nil {
			t.Fatal(err)
		}
		if err := program.Drain(); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		set(t, program, uart.Event{Control: uart.Control{RTS: uart.LevelOff}})
		if least := coding.LineTime(n); took < least {
			t.Errorf("RTS fell %v after the first of %d bytes, whose line time is %v", took, n, least)
		}
		expect(t, program, strings.Repeat("U", n))
		return took
	}
	short, long := held(60), held(240)
	t.Logf("RTS was held for %v by 60 bytes, %v by 240", short, long)
	if long < short*5/2 || long > 6*short {
		t.Errorf("240 bytes held RTS for %v, 60 for %v: want 2.5 to 6 times as long", long, short)
	}
}

func set(t *testing.T, p *uarttest.TTYProgram, e uart.Event) {
	t.Helper()
	if err := p.Set(e); err != nil {
		t.Fatal(err)
	}
}

// checkErrors: what the far UART saw shows at the right byte, to a program that asks for marks.
func checkErrors(t *testing.T) {
	script := filepath.Join(t.TempDir(), "inject")
	err := os.WriteFile(script, []byte(`at 3s data "ab"
at 3s parity-error 0x43
at 3s data "de"
at 3s framing-error 0x46
at 3s data "gh"
at 3s break
at 3s data "ij"
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, "--simulate", "loopback", "--inject", script)
	attach(t)
	program := open(t)
	if err := program.Termios(func(tio *unix.Termios) {
		tio.Iflag = unix.PARMRK | unix.INPCK
		tio.Lflag, tio.Oflag = 0, 0
		tio.Cflag |= unix.PARENB
	}); err != nil {
		t.Fatal(err)
	}
	// Behind the mark of the break is the NUL as which the far UART received it: it comes as data, as from any server.
	expect(t, program, "ab\xff\x00Cde\xff\x00Fgh\xff\x00\x00\x00ij")
	got, err := program.LineErrors()
	if want := uart.LineParity | uart.LineFraming | uart.LineBreak; err != nil || got&want != want {
		t.Errorf("TIOCGICOUNT counted %v, %v, want %v", got, err, want)
	}
}

// checkLines: RTS and DTR come back by the plug's wires, and a program that waits for a change of them by TIOCMIWAIT is
// woken.
func checkLines(t *testing.T) {
	serve(t, "--simulate", "loopback")
	attach(t)
	program := open(t)
	talks(t, program)
	const all = uart.CTS | uart.DSR | uart.RI | uart.DCD
	for _, step := range []struct {
		control uart.Control
		want    uart.ModemState
	}{
		{uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff}, 0},
		{uart.Control{RTS: uart.LevelOn}, uart.CTS},
		{uart.Control{RTS: uart.LevelOff, DTR: uart.LevelOn}, all &^ uart.CTS},
		{uart.Control{RTS: uart.LevelOn}, all},
	} {
		set(t, program, uart.Event{Control: step.control})
		eventually(t, "modem state "+step.want.String(), func() bool {
			got, err := program.Modem()
			return err == nil && got == step.want
		})
	}
	woken := make(chan error, 1)
	waiter := open(t)
	go func() {
		woken <- waiter.Control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCMIWAIT, unix.TIOCM_CTS) })
	}()
	// Nothing says when it waits: the line is moved until it is woken.
	for on := false; ; on = !on {
		set(t, program, uart.Event{Control: uart.Control{RTS: uart.LevelOf(on)}})
		select {
		case err := <-woken:
			if err != nil {
				t.Errorf("TIOCMIWAIT: %v", err)
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// checkBreak: a break that a program sends reaches the far UART, and the one that comes back shows as a break.
func checkBreak(t *testing.T) {
	serve(t, "--simulate", "loopback")
	attach(t)
	program := open(t)
	talks(t, program)
	if err := program.Termios(func(tio *unix.Termios) { tio.Iflag = unix.PARMRK }); err != nil {
		t.Fatal(err)
	}
	set(t, program, uart.Event{Control: uart.Control{Break: uart.LevelOn}})
	set(t, program, uart.Event{Control: uart.Control{Break: uart.LevelOff}})
	expect(t, program, "\xff\x00\x00\x00") // the mark, and the NUL as which the far UART received it
	got, err := program.LineErrors()
	if err != nil || got&uart.LineBreak == 0 {
		t.Errorf("TIOCGICOUNT counted %v, %v, want a break", got, err)
	}
}
