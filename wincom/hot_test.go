package wincom_test

import (
	"errors"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
	"telnetcpc/wincom/wincomtest"
)

var errGone = errors.New("the device is gone")

// failing is a system whose device fails at the first read.
type failing struct{ *wincomtest.Pair }

func (f failing) Open(name string) (wincom.Device, error) {
	d, err := f.Pair.Open(name)
	return failingDevice{d}, err
}

type failingDevice struct{ wincom.Device }

func (failingDevice) Read([]byte, time.Duration) (int, error) { return 0, errGone }

// endless is a system whose device always has the same bytes to read and takes all writes, so that only the port's own work
// is measured.
type endless struct {
	*wincomtest.Pair
	stream []byte
}

func (e endless) Open(name string) (wincom.Device, error) {
	d, err := e.Pair.Open(name)
	return endlessDevice{d, e.stream}, err
}

type endlessDevice struct {
	wincom.Device
	stream []byte
}

func (e endlessDevice) Read(p []byte, _ time.Duration) (int, error) { return copy(p, e.stream), nil }
func (endlessDevice) Write(p []byte) (int, error)                   { return len(p), nil }

// Ioctl reports that more is queued.
func (e endlessDevice) Ioctl(code wincom.Ioctl, in, out []byte) (int, error) {
	if code == wincom.GetCommStatus && len(e.stream) > 0 {
		clear(out)
		out[8] = 1
		return len(out), nil
	}
	return e.Device.Ioctl(code, in, out)
}

// startEndless returns a port that a program has open; Next has returned the events of the open.
func startEndless(t testing.TB, stream []byte) uart.Port {
	t.Helper()
	pair := wincomtest.NewPair("COM9", "CNCB0")
	a, err := pair.OpenApplication()
	if err != nil {
		t.Fatal(err)
	}
	port, err := wincom.On(endless{pair, stream}).Open(t.Context(), uart.PortConfig{Path: "COM9"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = port.Close()
		_ = a.Close()
	})
	for _, want := range []uart.Kind{uart.KindOpened, uart.KindSettings} {
		if _, e, err := port.Next(); err != nil || e.Kind != want {
			t.Fatalf("next: %v, %v", e, err)
		}
	}
	return port
}

// changing is bytes with an Escape among them, a change of lines, and a change of the coding and back.
const changing = "41 ff 00 42 ff 03 90 43 ff 03 b1 ff 10 2c 01 00 00 44 ff 10 80 25 00 00 45"

// full is bytes that fill every read, so that the port checks each time whether the driver has lost something.
func full() []byte {
	stream := make([]byte, 64<<10)
	for i := range stream {
		if stream[i] = byte(i * 7); stream[i] == wincom.Escape {
			stream[i] = 0
		}
	}
	return stream
}

// Neither bytes nor changes allocate.
func TestHotPathAllocatesNothing(t *testing.T) {
	for name, stream := range map[string][]byte{"changes": unhex(t, changing), "bulk": full()} {
		t.Run(name, func(t *testing.T) {
			port := startEndless(t, stream)
			down := make([]byte, 10_000)
			n := testing.AllocsPerRun(1000, func() {
				if _, _, err := port.Next(); err != nil {
					t.Error(err)
				}
				if _, err := port.Write(down); err != nil {
					t.Error(err)
				}
			})
			if n != 0 {
				t.Errorf("got %v allocations a call, want none", n)
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	port := startEndless(b, full())
	if _, _, err := port.Next(); err != nil { // the bytes that were queued before insertion started
		b.Fatal(err)
	}
	p, _, err := port.Next()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := port.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
