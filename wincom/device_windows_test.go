package wincom

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// bothEnds opens both ends of the stand-in driver's pair, with reads that return as soon as there is a byte.
func bothEnds(t *testing.T) (application, agent Device) {
	t.Helper()
	needStandIn(t)
	open := func(name string) Device {
		d, err := openDevice(name)
		if err != nil {
			t.Fatalf("open %s: %v", name, err)
		}
		t.Cleanup(func() { _ = d.Close() })
		for code, in := range map[Ioctl][]byte{
			SetTimeouts:    appendWords(nil, 1<<32-1, 1<<32-1, 1<<32-2, 0, 0),
			SetLineControl: {0, 0, 8},
		} {
			if _, err := d.Ioctl(code, in, nil); err != nil {
				t.Fatalf("%v of %s: %v", code, name, err)
			}
		}
		return d
	}
	return open("COM9"), open("CNCB0")
}

func TestDeviceRead(t *testing.T) {
	a, b := bothEnds(t)
	buf := make([]byte, 16)
	if n, err := b.Read(buf, 20*time.Millisecond); n != 0 || err != nil {
		t.Errorf("nothing to read: got %d, %v", n, err)
	}
	if _, err := a.Write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(buf, -1); err != nil || string(buf[:n]) != "after" {
		t.Errorf("after a read that timed out: got %q, %v", buf[:n], err)
	}
	// A blocked read blocks neither a write nor a request.
	read := make(chan error, 1)
	go func() {
		_, err := b.Read(buf, -1)
		read <- err
	}()
	if _, err := b.Write([]byte("down")); err != nil {
		t.Error(err)
	}
	var status [4]byte
	if n, err := b.Ioctl(GetModemStatus, nil, status[:]); n != 4 || err != nil {
		t.Errorf("a request during a read: got %d, %v", n, err)
	}
	if n, err := b.Read(nil, -1); n != 0 || err != nil {
		t.Errorf("an empty read: got %d, %v", n, err)
	}
	if n, err := b.Write(nil); n != 0 || err != nil {
		t.Errorf("an empty write: got %d, %v", n, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; !errors.Is(err, ErrDeviceClosed) {
		t.Errorf("the blocked read after Close: got %v", err)
	}
}

// No byte is lost or duplicated if reads time out while bytes arrive.
func TestDeviceReadTimesOut(t *testing.T) {
	a, b := bothEnds(t)
	const rounds = 500
	sent := make(chan error, 1)
	go func() {
		for i := range rounds {
			if _, err := a.Write([]byte{byte(i)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	buf := make([]byte, 4)
	for got := 0; got < rounds; {
		n, err := b.Read(buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range buf[:n] {
			if c != byte(got) {
				t.Fatalf("byte %d: got %d", got, c)
			}
			got++
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestDeviceWrite(t *testing.T) {
	a, b := bothEnds(t)
	b.StopWrites(true)
	if n, err := b.Write([]byte("x")); n != 0 || !errors.Is(err, ErrStopped) {
		t.Errorf("a write while writes are stopped: got %d, %v", n, err)
	}
	b.StopWrites(false)
	done := make(chan error, 1)
	go func() {
		_, err := b.Write(make([]byte, 100_000))
		done <- err
	}()
	if _, err := a.Read(make([]byte, 1), -1); err != nil {
		t.Fatal(err)
	}
	b.StopWrites(true)
	if err := <-done; !errors.Is(err, ErrStopped) {
		t.Errorf("a blocked write: got %v, want ErrStopped", err)
	}
	b.StopWrites(false)
	go func() {
		_, err := b.Write(make([]byte, 100_000))
		done <- err
	}()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { _ = b.Close() })
	}
	all.Wait()
	if err := <-done; !errors.Is(err, ErrDeviceClosed) {
		t.Errorf("the blocked write after Close: got %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, ErrDeviceClosed) {
		t.Errorf("a write on a closed device: got %v", err)
	}
	if _, err := b.Ioctl(GetModemStatus, nil, make([]byte, 4)); !errors.Is(err, ErrDeviceClosed) {
		t.Errorf("a request on a closed device: got %v", err)
	}
	b.StopWrites(true)
}

func TestOpenDevice(t *testing.T) {
	for _, name := range []string{"CNCB77", "no such port"} {
		if _, err := openDevice(name); !errors.Is(err, ErrNoDevice) {
			t.Errorf("%s: got %v, want ErrNoDevice", name, err)
		}
	}
	if _, err := openDevice("a\x00b"); err == nil {
		t.Error("a name with a NUL was opened")
	}
}

// The pair by the registry, and by the names of the devices.
func TestFind(t *testing.T) {
	needStandIn(t)
	e, err := machine{}.Find("com9")
	want := Ends{
		Application: "COM9", ApplicationID: "CNCA0", ApplicationPins: ApplicationPins(),
		Agent: "CNCB0", AgentID: "CNCB0", AgentPins: AgentPins(),
	}
	if err != nil || e != want {
		t.Errorf("by the registry: got %+v, %v, want %+v", e, err, want)
	}
	e, err = findByDevice("COM9")
	want.ApplicationPins, want.AgentPins, want.Assumed = DefaultPins(), DefaultPins(), true
	if err != nil || e != want {
		t.Errorf("by the devices: got %+v, %v, want %+v", e, err, want)
	}
	foreign := new(NotPairError)
	if _, err := (machine{}).Find("NUL"); !errors.As(err, &foreign) || !strings.HasPrefix(foreign.Device, `\`) {
		t.Errorf("another driver's device: got %v", err)
	}
	if _, err := (machine{}).Find("COM99"); err == nil || !strings.Contains(err.Error(), "there is no COM99") {
		t.Errorf("no device: got %v", err)
	}
}
