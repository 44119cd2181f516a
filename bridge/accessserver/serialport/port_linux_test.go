package serialport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/serialport"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// eachTTY runs f with each way of opening a port: Linux's, as for a pty and as for a UART, and the library's.
func eachTTY(t *testing.T, f func(t *testing.T, open func(p *devicetest.Plug) *devicetest.Bench)) {
	for _, tty := range []struct {
		name string
		open func(*serialport.Port, context.Context) (uart.Device, error)
	}{
		{"Linux", (*serialport.Port).Open},
		{"Linux with PARMRK", (*serialport.Port).OpenParmrk},
		{"library", (*serialport.Port).OpenLibrary},
	} {
		t.Run(tty.name, func(t *testing.T) {
			f(t, func(p *devicetest.Plug) *devicetest.Bench {
				t.Helper()
				d, err := tty.open(&serialport.Port{Path: p.Name}, t.Context())
				if err != nil {
					t.Fatal(err)
				}
				b := devicetest.New(t, d)
				t.Cleanup(func() { _ = d.Close() })
				return b
			})
		})
	}
}

func open(t *testing.T, p *devicetest.Plug) uart.Device {
	t.Helper()
	d, err := (&serialport.Port{Path: p.Name}).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func allBytes() string {
	var p []byte
	for v := range 256 {
		p = append(p, byte(v), 0xFF, byte(v), 0, byte(v))
	}
	return string(bytes.Repeat(p, 3))
}

func TestBytes(t *testing.T) {
	eachTTY(t, func(t *testing.T, open func(p *devicetest.Plug) *devicetest.Bench) {
		p := devicetest.NewPlug(t)
		b := open(p).Read()
		b.Send(allBytes())
		p.Hears(allBytes())
		p.Send(allBytes())
		devicetest.Eventually(t, "all bytes are received", func() bool { return len(b.Text()) >= len(allBytes()) })
		if got, want := b.Text(), allBytes(); got != want {
			t.Errorf("received: got %q, want %q", got, want)
		}
		b.End()
	})
}

// The driver gets what is set, and what it cannot do is not reported as in force.
func TestSettings(t *testing.T) {
	p := devicetest.NewPlug(t)
	d := open(t, p)
	for _, tt := range []struct {
		ask   uart.Event
		want  string
		flags uint32 // of Cflag: CSTOPB, CRTSCTS, PARODD
		input uint32 // of Iflag: IXON, IXOFF
	}{
		{uart.Event{}, "9600 8N1 none", 0, 0},
		{devicetest.Coding(t, "31250 8N2"), "31250 8N2 none", unix.CSTOPB, 0},
		{uart.Event{Flow: uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}}, "31250 8N2 rtscts", unix.CSTOPB | unix.CRTSCTS, 0},
		{uart.Event{Flow: uart.Flow{Out: uart.FlowDCD, In: uart.FlowDTR}}, "31250 8N2 rtscts", unix.CSTOPB | unix.CRTSCTS, 0},
		{uart.Event{Flow: uart.Flow{Out: uart.FlowXonXoff, In: uart.FlowRTSCTS}}, "31250 8N2 rtscts", unix.CSTOPB | unix.CRTSCTS, 0},
		{uart.Event{Flow: uart.Flow{Out: uart.FlowXonXoff, In: uart.FlowXonXoff}}, "31250 8N2 xonxoff", unix.CSTOPB, unix.IXON | unix.IXOFF},
		{uart.Event{Flow: uart.Flow{In: uart.FlowNone}}, "31250 8N2 xonxoff/none", unix.CSTOPB, unix.IXON},
		{uart.Event{Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowXonXoff}}, "31250 8N2 none/xonxoff", unix.CSTOPB, unix.IXOFF},
		{uart.Event{Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}, "31250 8N2 none", unix.CSTOPB, 0},
		{devicetest.Coding(t, "8N1.5"), "31250 8N2 none", unix.CSTOPB, 0}, // Linux has 1.5 stop bits only with 5 data bits
		{devicetest.Coding(t, "3000000 8N1"), "3000000 8N1 none", 0, 0},
		{devicetest.Coding(t, "7E1"), "3000000 8N1 none", 0, 0}, // a pty has 8 bits and no parity
	} {
		inForce, err := d.Apply(tt.ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := inForce.Coding.String() + " " + inForce.Flow.String(); got != tt.want {
			t.Errorf("%v in force: got %s, want %s", tt.ask, got, tt.want)
		}
		tio := p.Termios()
		if tio.Ospeed != inForce.Coding.Baud || tio.Ispeed != inForce.Coding.Baud {
			t.Errorf("%v: speeds: got %d and %d, want %d", tt.ask, tio.Ispeed, tio.Ospeed, inForce.Coding.Baud)
		}
		if got := tio.Cflag & (unix.CSTOPB | unix.CRTSCTS); got != tt.flags {
			t.Errorf("%v: c_cflag: got %#o, want %#o", tt.ask, got, tt.flags)
		}
		if got := tio.Iflag & (unix.IXON | unix.IXOFF); got != tt.input {
			t.Errorf("%v: c_iflag: got %#o, want %#o", tt.ask, got, tt.input)
		}
	}
}

// Without modem lines DTR and RTS are reported as requested: otherwise pyserial's client refuses to open the port.
func TestWithoutLines(t *testing.T) {
	eachTTY(t, func(t *testing.T, open func(p *devicetest.Plug) *devicetest.Bench) {
		b := open(devicetest.NewPlug(t)).Read()
		if got, want := b.Modem(), uart.CTS|uart.DSR|uart.DCD; got != want {
			t.Errorf("modem state: got %v, want %v", got, want)
		}
		for _, c := range []string{"DTR off RTS off", "DTR on RTS off", "DTR off RTS on", "DTR on RTS on"} {
			control, err := uart.ParseControl(c)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.Set(uart.Event{Control: control}).Control.String(); got != c+" break off" {
				t.Errorf("%s: got %s", c, got)
			}
		}
		b.End()
		if seen := b.Seen(); len(seen) > 0 {
			t.Errorf("received though nothing was sent: %v", seen)
		}
	})
}

// The device reports that the transmitter is empty after each write.
func TestTransmitterEmpty(t *testing.T) {
	p := devicetest.NewPlug(t)
	b := devicetest.New(t, open(t, p))
	b.Read()
	for range 20 {
		n := len(b.Seen())
		b.Send("out")
		p.Hears("out")
		devicetest.Eventually(t, "TEMT", func() bool { return len(b.Seen()) > n && b.Unsent() == 0 })
	}
	b.End()
	for _, seen := range b.Seen() {
		if seen != "line TEMT|THRE" {
			t.Errorf("received: got %s, want TEMT|THRE", seen)
		}
	}
}

// An instrument that reads nothing blocks the writer. A purge or Close releases it.
func TestBlocked(t *testing.T) {
	p := devicetest.NewPlug(t)
	b := devicetest.New(t, open(t, p))
	b.Read()
	for _, how := range []struct {
		name string
		end  func() error
		want error
	}{
		{"purge", func() error { return b.Purge(uart.PurgeTx) }, nil},
		{"close", b.Close, uart.ErrClosed},
	} {
		written := make(chan error, 1)
		go func() {
			_, err := b.Write(make([]byte, 1<<20))
			written <- err
		}()
		devicetest.Eventually(t, "the writer is blocked", func() bool { return waiting(t, p) > 0 && b.Unsent() > 0 })
		if err := how.end(); err != nil {
			t.Errorf("%s: %v", how.name, err)
		}
		if err := <-written; !errors.Is(err, how.want) {
			t.Errorf("write ended by %s: got %v, want %v", how.name, err, how.want)
		}
	}
	<-b.Over
	if _, err := b.Write([]byte("x")); !errors.Is(err, uart.ErrClosed) {
		t.Errorf("write after close: got %v", err)
	}
	if _, err := b.Apply(uart.Event{}); !errors.Is(err, uart.ErrClosed) {
		t.Errorf("apply after close: got %v", err)
	}
}

// waiting returns how many bytes the instrument could read at once.
func waiting(t *testing.T, p *devicetest.Plug) (n int) {
	t.Helper()
	raw, err := p.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A purge drops what was received and not read, and nothing that comes after it.
func TestPurgeRx(t *testing.T) {
	eachTTY(t, func(t *testing.T, open func(p *devicetest.Plug) *devicetest.Bench) {
		p := devicetest.NewPlug(t)
		b := open(p)
		p.Send("old\xFF")
		devicetest.Eventually(t, "the bytes have arrived", func() bool { return arrived(t, p) == len("old\xFF") })
		if err := b.Purge(uart.PurgeRx); err != nil {
			t.Fatal(err)
		}
		b.Read()
		p.Send("new")
		devicetest.Eventually(t, "new bytes", func() bool { return strings.HasSuffix(b.Text(), "new") })
		b.End()
		if got := b.Text(); got != "new" {
			t.Errorf("received: got %q, want new", got)
		}
	})
}

// arrived returns how many bytes wait at the port. 0xFF, which PARMRK doubles, counts once.
func arrived(t *testing.T, p *devicetest.Plug) int {
	t.Helper()
	fd, err := unix.Open(p.Name, unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return min(n, 4)
}

// After a port is unplugged every call reports it, and when it is back it can be opened again.
func TestUnplugged(t *testing.T) {
	eachTTY(t, func(t *testing.T, open func(p *devicetest.Plug) *devicetest.Bench) {
		p := devicetest.NewPlug(t)
		for range 3 {
			b := open(p)
			lost := make(chan error, 1)
			go func() {
				for {
					if _, _, err := b.Next(); err != nil {
						lost <- err
						return
					}
				}
			}()
			b.Send("in")
			p.Hears("in")
			p.Out()
			if err := <-lost; errors.Is(err, uart.ErrClosed) || !strings.Contains(err.Error(), "unplugged?") {
				t.Errorf("next: got %v", err)
			}
			if _, err := b.Write([]byte("x")); err == nil {
				t.Error("a port that is gone accepts bytes")
			}
			if err := b.Close(); err != nil {
				t.Logf("close: %v", err) // depends on the system
			}
			if _, err := (&serialport.Port{Path: p.Name}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "no such device (is it plugged in?") {
				t.Errorf("open: got %v", err)
			}
			p.In()
		}
	})
}

// All methods at once, for the race detector. Not with the library: a flush of a pty does not wake a writer that is blocked in
// the kernel.
func TestStorm(t *testing.T) {
	p := devicetest.NewPlug(t)
	for range 10 {
		b := devicetest.New(t, open(t, p))
		b.Read()
		var all sync.WaitGroup
		storm := func(f func(i int) error) {
			all.Go(func() {
				for i := range 100 {
					if err := f(i); err != nil && !errors.Is(err, uart.ErrClosed) {
						t.Error(err)
						return
					}
				}
			})
		}
		storm(func(i int) error { // Write and Apply share one caller
			_, err := b.Write([]byte(allBytes()))
			if err == nil {
				_, err = b.Apply(uart.Event{Coding: uart.Coding{Baud: uint32(1200 * (i%4 + 1))}, Control: uart.Control{DTR: uart.LevelOf(i%2 == 0)}})
			}
			return err
		})
		halfway := make(chan struct{})
		storm(func(i int) error {
			if i == 50 {
				close(halfway)
			}
			return b.Purge(uart.Purge(i%3 + 1))
		})
		storm(func(int) error { b.Modem(); b.Unsent(); return nil })
		read := make(chan struct{})
		go func() {
			defer close(read)
			_ = p.SetReadDeadline(time.Now().Add(testenv.Patience))
			_, _ = io.CopyN(io.Discard, p, 20_000) // then it stops: the writer is blocked
		}()
		p.Send(allBytes())
		all.Go(func() {
			<-halfway
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		b.End()
		_ = p.SetReadDeadline(time.Now())
		<-read
	}
}

// The errors of opening are one line each and say what to do.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := devicetest.NewPlug(t)
	open(t, taken)
	flocked := devicetest.NewPlug(t)
	other, err := os.OpenFile(flocked.Name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{dir + "/ttyUSB0", "no such device (is it plugged in? ls /dev/serial/by-id"},
		{dir + "/file", "not a serial port ("},
		{dir, "not a serial port ("},
		{"/dev/null", "not a serial port ("},
		{taken.Name, "in use by another program"},
		{flocked.Name, "in use by another program"},
	} {
		_, err := (&serialport.Port{Path: tt.path}).Check()
		if err == nil || !strings.HasPrefix(err.Error(), "open "+tt.path+": "+tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", tt.path, err, tt.want)
		}
	}
}

// The error for a missing permission names the group that has it.
func TestPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run as a user without permission")
	}
	p := devicetest.NewPlug(t)
	real, err := filepath.EvalSymlinks(p.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(real, 0, 20), os.Chmod(real, 0o660)); err != nil {
		t.Fatal(err)
	}
	got := asNobody(t, func() error {
		_, err := (&serialport.Port{Path: real}).Check()
		return err
	})
	if want := "permission denied (group dialout may use it: sudo usermod -aG dialout $USER, then log in again)"; got == nil || !strings.HasSuffix(got.Error(), want) {
		t.Errorf("got %v, want %s", got, want)
	}
}

// asNobody runs f on a thread of user nobody, which ends with f.
func asNobody(t *testing.T, f func() error) error {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		const keep, nobody = ^uintptr(0), 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, nobody, keep); errno != 0 {
			t.Errorf("setresuid: %v", errno)
		}
		result <- f()
	}()
	return <-result
}
