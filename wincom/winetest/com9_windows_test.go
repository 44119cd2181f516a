package winetest

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.bug.st/serial"
	"golang.org/x/sys/windows"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// TestCOM9 is what a user can verify on their own Windows: what a program does to COM9 arrives at a far UART, and the other
// way round. The far end is in this process; telnetcpc.exe and the pair of ports are the real ones.
func TestCOM9(t *testing.T) {
	if os.Getenv(pairVariable) == "" || os.Getenv(programVariable) == "" {
		t.Skipf("%s and %s are not set: scripts/verify-windows.ps1 sets which pair to use", pairVariable, programVariable)
	}
	for _, check := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the driver", checkDriver},
		{"the port is listed", checkListed},
		{"line codings", checkCodings},
		{"baud rates", checkBauds},
		{"DTR and RTS", checkControl},
		{"CTS, DSR, DCD and RI", checkModem},
		{"break", checkBreak},
		{"order of bytes and settings", checkOrder},
		{"a megabyte both ways", checkBulk},
		{"closed and opened again", checkReopened},
		{"the server goes and comes", checkServerAway},
		{"Ctrl-Break", checkCtrlBreak},
		{"a service that is killed", checkService},
	} {
		t.Run(check.name, check.run)
	}
}

// bench is a port whose agent is connected to a far end.
type bench struct {
	*testing.T
	far   *far
	agent *agent
	port  string
}

func newBench(t *testing.T, flags ...string) *bench {
	t.Helper()
	b := &bench{T: t, far: newFar(t), port: os.Getenv(pairVariable)}
	b.agent = start(t, append(append([]string{"attach"}, flags...), b.port, "rfc2217://"+b.far.address)...)
	return b
}

// open opens the port as a program does and waits for its session.
func (b *bench) open(via string) program {
	b.Helper()
	sessions := b.far.clients
	if b.agent != nil { // nil if a service has the port
		sessions = func() int { return strings.Count(b.agent.out.String(), "session up") }
	}
	before := sessions()
	p, err := openProgram(via, b.port)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	b.eventually("the session is up", func() error { // before that a break is lost
		if sessions() <= before {
			return errors.New("no session yet")
		}
		return nil
	})
	return p
}

func (b *bench) eventually(what string, f func() error) {
	b.Helper()
	eventually(b.T, what, func() error {
		if b.agent != nil && b.agent.exited() {
			b.Fatalf("telnetcpc has exited: %v", b.agent.err)
		}
		return f()
	})
}

func (b *bench) set(p program, e uart.Event) {
	b.Helper()
	if err := p.Set(e); err != nil {
		b.Fatal(err)
	}
}

// write fails unless all of data is written.
func (b *bench) write(p program, data []byte) {
	b.Helper()
	if n, err := p.Write(data); err != nil || n != len(data) {
		b.Fatalf("write of %d bytes: %d, %v", len(data), n, err)
	}
}

// expect fails unless the next bytes are want.
func (b *bench) expect(p program, want []byte) {
	b.Helper()
	if err := expect(p, want); err != nil {
		b.Fatal(err)
	}
}

func checkListed(t *testing.T) {
	names, err := serial.GetPortsList()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(names, os.Getenv(pairVariable)) {
		t.Errorf("listed ports: %q, want %s among them", names, os.Getenv(pairVariable))
	}
}

// checkCodings: a byte leaves the far UART at the line coding that the program has set, for every coding.
func checkCodings(t *testing.T) {
	b := newBench(t)
	p := b.open(viaLibrary)
	for bits := uint8(5); bits <= 8; bits++ {
		for parity := uart.ParityNone; parity <= uart.ParitySpace; parity++ {
			for _, stop := range []uart.StopBits{uart.Stop1, uart.Stop1Half, uart.Stop2} {
				b.carries(p, uart.Coding{Baud: 115200, DataBits: bits, Parity: parity, StopBits: stop})
			}
		}
	}
}

var bauds = []uint32{300, 1200, 2400, 4800, 9600, 19200, 31250, 38400, 57600, 115200, 230400, 250000, 460800, 921600}

func checkBauds(t *testing.T) {
	b := newBench(t)
	p := b.open(viaLibrary)
	for _, baud := range bauds {
		b.carries(p, uart.Coding{Baud: baud, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1})
	}
}

// carries sets a line coding and sends a byte; when it comes back it must have left the far UART at that coding.
func (b *bench) carries(p program, want uart.Coding) {
	b.Helper()
	b.set(p, uart.Event{Coding: want})
	b.write(p, []byte{0x15}) // 5 bits at most
	b.expect(p, []byte{0x15})
	all := b.far.sent()
	if got := all[len(all)-1]; got != (sentByte{0x15, want}) {
		b.Errorf("the far UART sent %#02x at %v, want 0x15 at %v", got.value, got.coding, want)
	}
}

// checkControl: each line by itself, and what the loopback plug returns for it.
func checkControl(t *testing.T) {
	b := newBench(t, "--linger", "50ms")
	for _, via := range []string{viaLibrary, viaWindows} {
		p := b.open(via)
		for _, c := range []uart.Control{
			{DTR: uart.LevelOff}, {RTS: uart.LevelOff}, {DTR: uart.LevelOn}, {RTS: uart.LevelOn}, {RTS: uart.LevelOff}, {DTR: uart.LevelOff},
		} {
			b.set(p, uart.Event{Control: c})
			b.eventually("the far UART has "+c.String(), func() error {
				now := b.far.inForce().Control
				return same(c.Over(now), now)
			})
			now := b.far.inForce().Control
			var want uart.ModemState
			if now.RTS == uart.LevelOn {
				want |= uart.CTS
			}
			if now.DTR == uart.LevelOn {
				want |= uart.DSR | uart.DCD | uart.RI
			}
			b.eventually("the loopback plug returns the lines", func() error {
				got, err := p.Modem()
				return errors.Join(err, same(got, want))
			})
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		b.eventually("the far UART is closed", func() error { return same(b.far.count(uart.KindClosed), b.far.clients()) })
	}
}

// Events that a program waits for: EV_CTS and the like (winbase.h).
const (
	evCTS, evDSR, evRLSD, evBreak, evErr, evRing = 0x08, 0x10, 0x20, 0x40, 0x80, 0x100
)

// checkModem: a program that waits for a line to change is woken and sees the line.
func checkModem(t *testing.T) {
	b := newBench(t)
	p := b.open(viaWindows).(*windowsProgram)
	b.far.setModem(0)
	b.eventually("all lines are off", func() error {
		got, err := p.Modem()
		return errors.Join(err, same(got, 0))
	})
	for _, step := range []struct {
		event uint32
		want  uart.ModemState
	}{
		{evCTS, uart.CTS}, {evDSR, uart.CTS | uart.DSR}, {evRLSD, uart.CTS | uart.DSR | uart.DCD},
		{evRing, uart.CTS | uart.DSR | uart.DCD | uart.RI}, {evCTS, uart.DSR | uart.DCD | uart.RI}, {evDSR | evRLSD, uart.RI},
	} {
		got, err := p.waitEvent(step.event, testenv.Patience, func() { b.far.setModem(step.want) })
		if err != nil || got&step.event == 0 {
			t.Errorf("waiting for event %#x: got %#x, %v", step.event, got, err)
		}
		b.eventually("the program sees "+step.want.String(), func() error {
			got, err := p.Modem()
			return errors.Join(err, same(got, step.want))
		})
	}
}

// checkBreak: a break arrives, and the loopback plug's comes back as an event, an error and a NUL.
func checkBreak(t *testing.T) {
	b := newBench(t)
	p := b.open(viaWindows).(*windowsProgram)
	b.set(p, uart.Event{Coding: uart.DefaultCoding()})
	if _, err := p.errs(); err != nil {
		t.Fatal(err)
	}
	got, err := p.waitEvent(evBreak, testenv.Patience, func() { b.set(p, uart.Event{Control: uart.Control{Break: uart.LevelOn}}) })
	if err != nil || got&evBreak == 0 {
		t.Errorf("waiting for a break: got %#x, %v", got, err)
	}
	if now := b.far.inForce().Control.Break; now != uart.LevelOn {
		t.Errorf("the far UART has break %v", now)
	}
	b.set(p, uart.Event{Control: uart.Control{Break: uart.LevelOff}})
	b.eventually("the break ends", func() error { return same(b.far.inForce().Control.Break, uart.LevelOff) })
	const ceBreak = 0x10
	if bits, err := p.errs(); err != nil || bits&ceBreak == 0 {
		t.Errorf("ClearCommError: got %#x, %v, want CE_BREAK among them", bits, err)
	}
	// The NUL is from the driver: the access server reports the break and sends no NUL.
	b.expect(p, []byte{0})
	b.write(p, []byte("after the break"))
	b.expect(p, []byte("after the break"))
}

// checkOrder: each byte leaves the far UART at the line coding that was set when it was written, although the program does
// not wait.
func checkOrder(t *testing.T) {
	b := newBench(t)
	p := b.open(viaWindows)
	const rounds = 100
	var want []sentByte
	back := make(chan error, 1)
	var all []byte
	for i := range rounds {
		all = append(all, byte(i%32), byte(31-i%32))
	}
	go func() { back <- expect(p, all) }()
	for i := range rounds {
		c := uart.Coding{
			Baud: []uint32{19200, 115200, 57600, 230400}[i%4], DataBits: uint8(5 + i%3), Parity: uart.Parity(1 + i%5), StopBits: uart.Stop1,
		}
		b.set(p, uart.Event{Coding: c})
		b.write(p, all[2*i:2*i+2])
		want = append(want, sentByte{all[2*i], c}, sentByte{all[2*i+1], c})
	}
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	got := b.far.sent()
	if len(got) != len(want) {
		t.Fatalf("the far UART sent %d bytes, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("byte %d: the far UART sent %#02x at %v, want %#02x at %v", i, got[i].value, got[i].coding, want[i].value, want[i].coding)
		}
	}
}

func checkBulk(t *testing.T) {
	b := newBench(t)
	p := b.open(viaWindows)
	b.set(p, uart.Event{Coding: uart.Coding{Baud: 20_000_000, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}})
	data := noise('b', 1<<20)
	sent := make(chan error, 1)
	go func() {
		_, err := p.Write(data)
		sent <- err
	}()
	b.expect(p, data)
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// checkReopened: the far UART is closed after the program closes, and the next program gets the settings that it sets.
func checkReopened(t *testing.T) {
	b := newBench(t, "--linger", "50ms")
	for i := range 3 {
		p := b.open(viaWindows)
		want := uart.Coding{Baud: 9600 << i, DataBits: 8, Parity: uart.ParityEven, StopBits: uart.Stop1}
		b.carries(p, want)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		b.eventually("the far UART is closed", func() error { return same(b.far.count(uart.KindClosed), i+1) })
	}
}

// checkServerAway: bytes written while the server is away are held, and sent with the program's settings.
func checkServerAway(t *testing.T) {
	b := newBench(t)
	p := b.open(viaWindows)
	want := uart.Coding{Baud: 4800, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop2}
	b.carries(p, want)
	b.far.end()
	b.eventually("the program sees that the device is gone", func() error {
		got, err := p.Modem()
		return errors.Join(err, same(got&(uart.CTS|uart.DSR), 0)) // DCD keeps the device's state: only --dcd link drops it
	})
	b.write(p, []byte("held"))
	b.far.start()
	b.expect(p, []byte("held"))
	all := b.far.sent()
	if got := all[len(all)-1]; got.coding != want {
		t.Errorf("the far UART sent at %v, want %v", got.coding, want)
	}
}

// checkCtrlBreak: the agent exits with status 0; the port remains, with its lines off.
func checkCtrlBreak(t *testing.T) {
	b := newBench(t)
	p := b.open(viaWindows)
	b.write(p, []byte("x"))
	b.expect(p, []byte("x"))
	b.agent.stop(t)
	eventually(t, "the far UART is closed", func() error { return same(b.far.count(uart.KindClosed), 1) })
	if got, err := p.Modem(); err != nil || got&(uart.CTS|uart.DSR|uart.DCD) != 0 {
		t.Errorf("the program sees %v, %v, want CTS, DSR and DCD off", got, err)
	}
}

// checkService: attach as a service; killed, it is restarted. In Wine it is only stopped and started.
func checkService(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("only an administrator can install a service: start PowerShell with \"Run as administrator\"")
	}
	b := &bench{T: t, far: newFar(t), port: os.Getenv(pairVariable)}
	service := func(command string, args ...string) string {
		t.Helper()
		out, err := exec.Command(os.Getenv(programVariable), append([]string{"service", command}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("telnetcpc service %s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	service("install", "--linger", "50ms", b.port, b.far.address)
	t.Cleanup(func() { service("uninstall", b.port) })
	check := func() {
		t.Helper()
		p := b.open(viaWindows)
		b.carries(p, uart.DefaultCoding())
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	check()
	running := regexp.MustCompile(`running, pid (\d+)`)
	before := running.FindStringSubmatch(service("status", b.port))
	if before == nil {
		t.Fatal("the service is not running")
	}
	if wine { // its service manager does not notice that a service has died
		service("stop", b.port)
		service("start", b.port)
	} else if out, err := exec.Command("taskkill.exe", "/F", "/PID", before[1]).CombinedOutput(); err != nil {
		t.Fatalf("taskkill: %v\n%s", err, out)
	}
	b.eventually("the service is back", func() error {
		out := service("status", b.port)
		if now := running.FindStringSubmatch(out); now == nil || now[1] == before[1] {
			return errors.New(out)
		}
		return nil
	})
	check()
}
