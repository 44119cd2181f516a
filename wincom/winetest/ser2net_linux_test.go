package winetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// TestSer2net: what a Windows program does to COM11 arrives at the device behind a real ser2net, and the other way round.
func TestSer2net(t *testing.T) {
	w := needWine(t)
	t.Parallel()
	b := newBench(t, w, startSer2net(t))
	for _, check := range []struct {
		name string
		run  func(*bench, *testing.T)
	}{
		{"line codings", (*bench).checkCodings},
		{"baud rates", (*bench).checkBauds},
		{"DTR, RTS and break", (*bench).checkControl},
		{"order", (*bench).checkOrder},
		{"a megabyte each way", (*bench).checkBulk},
		{"closed and opened again", (*bench).checkReopened},
		{"server killed and back", (*bench).checkKilled},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(b, t) })
	}
}

// bench is a Windows program with a port of telnetcpc.exe, which is connected to a real ser2net through an observing proxy.
type bench struct {
	server *ser2net
	device *device
	proxy  *proxy
	agent  *process
	puppet puppet
}

func newBench(t *testing.T, w *wine, s *ser2net) *bench {
	b := &bench{server: s, device: s.device, proxy: newProxy(t, s.address)}
	b.agent = start(t, w.command(nil, windowsPath(telnetcpc(t)), "attach", "--linger", "50ms", pairOfSer2net, b.proxy.url()))
	b.puppet = startPuppet(t, w)
	return b
}

// open opens the port and waits for its session.
func (b *bench) open(t *testing.T, via string) *opened {
	t.Helper()
	eventually(t, "the last session is over", func() error {
		_, active := b.proxy.clients()
		return same(active, 0)
	})
	before, _ := b.proxy.clients()
	p := b.puppet.open(t, via, pairOfSer2net)
	eventually(t, "the session is up", func() error {
		if b.agent.exited() {
			t.Fatalf("telnetcpc exited:\n%s", b.agent.out.String())
		}
		if sessions, _ := b.proxy.clients(); sessions == before {
			return errors.New("no session yet")
		}
		return nil
	})
	return p
}

func set(t *testing.T, p program, e uart.Event) {
	t.Helper()
	if err := p.Set(e); err != nil {
		t.Fatal(err)
	}
}

// up sends bytes from the program to the device.
func (b *bench) up(t *testing.T, p program, data []byte) {
	t.Helper()
	if n, err := p.Write(data); err != nil || n != len(data) {
		t.Fatalf("the program wrote %d of %d bytes: %v", n, len(data), err)
	}
	if err := expect(b.device, data); err != nil {
		t.Fatalf("at the device: %v", err)
	}
}

// down sends bytes from the device to the program.
func (b *bench) down(t *testing.T, p program, data []byte) {
	t.Helper()
	if _, err := b.device.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := expect(p, data); err != nil {
		t.Fatalf("at the program: %v", err)
	}
}

// carries sets a line coding and sends a byte. Baud rate and stop bits must be in the termios of the device's pty by then;
// ser2net must acknowledge the whole coding, because a pty does not keep the rest.
func (b *bench) carries(t *testing.T, p program, want uart.Coding) {
	t.Helper()
	set(t, p, uart.Event{Coding: want})
	b.up(t, p, []byte{0x15}) // 5 bits at most
	tio := b.device.termios(t)
	stop := uart.Stop1
	if tio.Cflag&unix.CSTOPB != 0 {
		stop = uart.Stop2
	}
	if tio.Ospeed != want.Baud || stop != want.StopBits {
		t.Errorf("%v: the device has %d baud and %v stop bits", want, tio.Ospeed, stop)
	}
	eventually(t, "ser2net acknowledges "+want.String(), func() error { return same(b.proxy.acknowledged(), want) })
}

func (b *bench) checkCodings(t *testing.T) {
	p := b.open(t, viaLibrary)
	// Mark and space come last: this ser2net (gensio 2.6) never clears CMSPAR.
	for parity := uart.ParityNone; parity <= uart.ParitySpace; parity++ {
		for bits := uint8(5); bits <= 8; bits++ {
			for _, stop := range []uart.StopBits{uart.Stop1, uart.Stop2} {
				b.carries(t, p, uart.Coding{Baud: 9600, DataBits: bits, Parity: parity, StopBits: stop})
			}
		}
	}
}

func (b *bench) checkBauds(t *testing.T) {
	p := b.open(t, viaLibrary)
	for _, baud := range []uint32{300, 1200, 2400, 4800, 9600, 19200, 31250, 38400, 57600, 115200, 230400, 250000, 921600} {
		b.carries(t, p, uart.Coding{Baud: baud, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1})
	}
}

// The values of SET-CONTROL (RFC 2217, section 3).
const (
	breakOn, breakOff, dtrOn, dtrOff, rtsOn, rtsOff = 5, 6, 8, 9, 11, 12
)

// checkControl: a pty has no lines, so the test checks what ser2net receives, in order. It replies to what it can do, the
// break.
func (b *bench) checkControl(t *testing.T) {
	p := b.open(t, viaWindows)
	b.up(t, p, []byte("x"))
	requests := len(b.proxy.controls(&b.proxy.requests))
	replies := len(b.proxy.controls(&b.proxy.replies))
	var want []byte
	for _, step := range []struct {
		control uart.Control
		value   byte
	}{
		{uart.Control{DTR: uart.LevelOff}, dtrOff}, {uart.Control{RTS: uart.LevelOff}, rtsOff},
		{uart.Control{RTS: uart.LevelOn}, rtsOn}, {uart.Control{DTR: uart.LevelOn}, dtrOn},
		{uart.Control{Break: uart.LevelOn}, breakOn}, {uart.Control{Break: uart.LevelOff}, breakOff},
	} {
		set(t, p, uart.Event{Control: step.control})
		want = append(want, step.value)
	}
	eventually(t, "ser2net receives lines and break", func() error {
		if got := b.proxy.controls(&b.proxy.requests)[requests:]; !slices.Equal(got, want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
	eventually(t, "ser2net replies to the break", func() error {
		if got := b.proxy.controls(&b.proxy.replies)[replies:]; !slices.Contains(got, breakOn) {
			return fmt.Errorf("got %v, want %d among them", got, breakOn)
		}
		return nil
	})
}

// checkOrder: on the wire each byte follows the line coding that was set before it, although the program does not wait.
func (b *bench) checkOrder(t *testing.T) {
	p := b.open(t, viaWindows)
	const rounds = 100
	before := len(b.proxy.sentBytes())
	var all []byte
	var want []sentByte
	for i := range rounds {
		c := uart.Coding{Baud: []uint32{19200, 115200, 57600, 230400}[i%4], DataBits: uint8(5 + i%4), Parity: uart.Parity(1 + i%3), StopBits: uart.Stop1}
		data := []byte{byte(i % 32), byte(31 - i%32)}
		set(t, p, uart.Event{Coding: c})
		if _, err := p.Write(data); err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
		want = append(want, sentByte{data[0], c}, sentByte{data[1], c})
	}
	if err := expect(b.device, all); err != nil {
		t.Fatal(err)
	}
	got := b.proxy.sentBytes()[before:]
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("byte %d of %d on the wire: want %v, got %v", i, len(got), want[i], got[min(i, len(got)-1)])
		}
	}
}

func (b *bench) checkBulk(t *testing.T) {
	p := b.open(t, viaWindows)
	set(t, p, uart.Event{Coding: uart.Coding{Baud: 4_000_000, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}})
	b.up(t, p, []byte("now"))
	up, down := noise('u', 1<<20), noise('d', 1<<20)
	errs := make(chan error, 4)
	go func() { errs <- writeChunks(p, up) }()
	go func() { errs <- writeChunks(b.device, down) }()
	go func() { errs <- expect(b.device, up) }()
	go func() { errs <- expect(p, down) }()
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// writeChunks writes p in chunks, as a program does.
func writeChunks(to interface{ Write([]byte) (int, error) }, p []byte) error {
	for chunk := range slices.Chunk(p, 16<<10) {
		if _, err := to.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

// checkReopened: the next program gets its own session with its settings, and both directions work.
func (b *bench) checkReopened(t *testing.T) {
	for i := range 3 {
		p := b.open(t, viaWindows)
		b.carries(t, p, uart.Coding{Baud: 2400 << i, DataBits: 8, Parity: uart.ParityEven, StopBits: uart.Stop2})
		b.down(t, p, []byte("and back"))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkKilled: bytes written while the server is away are held, and sent with the program's line coding.
func (b *bench) checkKilled(t *testing.T) {
	p := b.open(t, viaWindows)
	want := uart.Coding{Baud: 4800, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop2}
	b.carries(t, p, want)
	lost := strings.Count(b.agent.out.String(), "session lost")
	b.server.kill()
	eventually(t, "the agent notices the loss", func() error {
		if strings.Count(b.agent.out.String(), "session lost") == lost {
			return errors.New("session lost is not logged")
		}
		return nil
	})
	if _, err := p.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	b.server.start(b.server.cmd.Path)
	if err := expect(b.device, []byte("held")); err != nil {
		t.Fatal(err)
	}
	if tio := b.device.termios(t); tio.Ospeed != want.Baud || tio.Cflag&unix.CSTOPB == 0 {
		t.Errorf("the device has %d baud, want %v", tio.Ospeed, want)
	}
	b.down(t, p, []byte("and back"))
}
