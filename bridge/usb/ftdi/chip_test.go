package ftdi_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/ftdi"
	"telnetcpc/bridge/usb/usbip"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// bed is a chip plugged into a driver.
type bed struct {
	*testing.T
	chip   *ftdi.Chip
	driver *driver
	host   *usbiptest.Host
	served chan error

	mu     sync.Mutex // over urgent
	urgent []uart.Event
}

// plugIn returns a bed whose device has been probed. The chip is closed when the test ends.
func plugIn(t *testing.T, config uart.PortConfig) *bed {
	t.Helper()
	return plugInto(t, config, nil)
}

// plugInto is plugIn with a log for the chip.
func plugInto(t *testing.T, config uart.PortConfig, log *slog.Logger) *bed {
	t.Helper()
	b := &bed{T: t}
	config.Urgent = func(e uart.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.urgent = append(b.urgent, e)
	}
	b.chip = ftdi.New(config, "ttyV0", log)
	b.attach()
	over := time.AfterFunc(testenv.Patience, func() { _ = b.chip.Close() })
	t.Cleanup(func() {
		if !over.Stop() {
			t.Errorf("something did not come within %v", testenv.Patience)
		}
		if err := b.chip.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-b.served; err != nil && !errors.Is(err, uart.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
		b.driver.end()
	})
	return b
}

// attach plugs the chip in and probes it.
func (b *bed) attach() {
	b.Helper()
	dev, wire := net.Pipe()
	b.served = make(chan error, 1)
	served := b.served
	go func() {
		served <- b.chip.Serve(dev)
		close(served) // so that the cleanup does not hang after a test that has received from it
	}()
	b.driver = newDriver(wire)
	b.host = b.driver.host
	if err := b.driver.probe(); err != nil {
		b.Fatal(err)
	}
}

// next calls Next.
func (b *bed) next() (string, uart.Event) {
	b.Helper()
	p, e, err := b.chip.Next()
	if err != nil {
		b.Fatalf("next: %v", err)
	}
	return string(p), e
}

// wants calls Next once for each of these events, which must print like this. It calls the Ready of an open.
func (b *bed) wants(events ...string) {
	b.Helper()
	for _, want := range events {
		p, e := b.next()
		got := e.String()
		if e.Kind == uart.KindData {
			got = "data " + p
		}
		if got != want {
			b.Fatalf("next: got %q, want %q", got, want)
		}
		if e.Ready != nil {
			e.Ready(nil)
		}
	}
}

// opens opens the port and takes its events.
func (b *bed) opens() {
	b.Helper()
	opened := make(chan error, 1)
	go func() { opened <- b.driver.open() }()
	b.wants("opened")
	if err := <-opened; err != nil {
		b.Fatal(err)
	}
	b.wants("settings DTR on RTS on")
}

// requests performs a vendor request and returns its status.
func (b *bed) requests(request uint8, value, index uint16) int {
	_, status := b.host.Control(usbip.Setup{Type: 0x40, Request: request, Value: value, Index: index | channel}, nil)
	return status
}

// TestRequests: every request of the driver and the event that it makes, and unknown requests.
func TestRequests(t *testing.T) {
	const stall = usbiptest.StatusStall
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	for _, tt := range []struct {
		request      uint8
		value, index uint16
		status       int
		want         string // "": no event
	}{
		{1, 0x0101, 0, 0, "settings DTR on"},
		{1, 0x0100, 0, 0, "settings DTR off"},
		{1, 0x0202, 0, 0, "settings RTS on"},
		{1, 0x0200, 0, 0, "settings RTS off"},
		{1, 0x0200, 0, 0, "settings RTS off"}, // set again is reported again
		{1, 0x0301, 0, 0, "settings DTR on RTS off"},
		{1, 0x0300, 0, 0, "settings DTR off RTS off"},
		{1, 0x0003, 0, 0, ""},
		{2, 0, 0x0100, 0, "settings 9600 8N1 rtscts"},
		{2, 0x1311, 0x0400, 0, "settings 9600 8N1 xonxoff"},
		{2, 0, 0x0200, 0, "settings 9600 8N1 dsr/dtr"},
		{2, 0, 0x0300, stall, ""},
		{2, 0, 0x0000, 0, "settings 9600 8N1 none"},
		{2, 0, 0x0000, 0, ""}, // nothing new
		{3, 0x0271, 0x0200, 0, "settings 19200 8N1 none"},
		{4, 0x0207, 0, 0, "settings 19200 7E1 none"},
		{4, 0x1108, 0, 0, "settings 19200 8O2 none"},
		{4, 0x0b08, 0, 0, "settings 19200 8M1.5 none"},
		{4, 0x0406, 0, 0, "settings 19200 6S1 none"},
		{4, 0x0405, 0, 0, "settings 19200 5S1 none"},
		{4, 0x0400, 0, 0, ""}, // the driver's 5 data bits
		{4, 0x0009, 0, stall, ""},
		{4, 0x0508, 0, stall, ""},
		{4, 0x1808, 0, stall, ""},
		{4, 0x4405, 0, 0, "settings break on"},
		{4, 0x4405, 0, 0, ""},
		{4, 0x0405, 0, 0, "settings break off"},
		{4, 0x0008, 0, 0, "settings 19200 8N1 none"},
		{0, 1, 0, 0, "purge rx"},
		{0, 2, 0, 0, "purge tx"},
		{0, 3, 0, stall, ""},
		{6, 0x010d, 0, 0, ""},
		{7, 0x0100, 0, 0, ""},
		{9, 3, 0, 0, ""},
		{11, 0, 0, stall, ""},
		{0x90, 0, 0, stall, ""},
	} {
		if got := b.requests(tt.request, tt.value, tt.index); got != tt.status {
			t.Errorf("request %d value %#x index %#x: status %d, want %d", tt.request, tt.value, tt.index, got, tt.status)
		}
		if tt.want != "" {
			b.wants(tt.want)
		}
	}
	if p, status := b.host.Control(usbip.Setup{Type: 0xc0, Request: 10, Length: 1}, nil); status != 0 || !bytes.Equal(p, []byte{3}) {
		t.Errorf("latency timer: got % x, status %d; want 03", p, status)
	}
	if _, status := b.host.Control(usbip.Setup{Type: 0xc0, Request: 0x90, Length: 2}, nil); status != stall {
		t.Errorf("EEPROM: got status %d, want a stall", status)
	}
	if _, status := b.host.Control(usbip.Setup{Type: 0x21, Request: 1}, nil); status != stall {
		t.Errorf("class request: got status %d, want a stall", status)
	}
	done := make(chan struct{})
	go func() { // nothing was left in the queue
		defer close(done)
		_, _ = b.driver.write([]byte("end"))
	}()
	b.wants("data end")
	<-done
}

// TestBaudWithoutChannel: the upper bits of the divisor are found if the driver has no number for the port.
func TestBaudWithoutChannel(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	for _, baud := range []uint32{115200, 75, 31250} {
		divisor := driverDivisor(baud)
		for _, s := range []usbip.Setup{
			{Type: 0x40, Request: 4, Value: 8},
			{Type: 0x40, Request: 3, Value: uint16(divisor), Index: uint16(divisor >> 16)},
		} {
			if _, status := b.host.Control(s, nil); status != 0 {
				t.Errorf("%v: status %d", s, status)
			}
		}
		if _, e := b.next(); e.Coding.Baud != baud {
			t.Errorf("got %v, want %d baud", e, baud)
		}
	}
}

// TestErrorsAtTheirByte: a byte with an error is alone in its packet, whatever comes before and after it.
func TestErrorsAtTheirByte(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	b.opens()
	write := func(s string) {
		if n, err := b.chip.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	report := func(l uart.LineState) {
		if err := b.chip.ReportLine(l); err != nil {
			t.Fatal(err)
		}
	}
	write("good")
	report(uart.LineParity)
	write("Pgood")
	report(uart.LineFraming)
	report(uart.LineTHRE | uart.LineTEMT) // no error of a received byte
	write("F")
	report(uart.LineBreak | uart.LineFraming)
	report(uart.LineOverrun)
	write("Ogood")
	want := "goodPgoodF\x00Ogood"
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		p := make([]byte, 100)
		n, err := b.driver.read(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p[:n]...)
	}
	b.driver.mu.Lock()
	defer b.driver.mu.Unlock()
	if string(got) != want || string(b.driver.bad) != "PF\x00O" {
		t.Errorf("got %q with errors at %q, want %q with errors at PF\\x00O", got, b.driver.bad, want)
	}
	if want := uart.LineErrors; b.driver.errors != want {
		t.Errorf("errors: got %v, want %v", b.driver.errors, want)
	}
}

// TestModemPackets: a change of the lines is a packet without data; a change while the port is closed is reported at the open.
func TestModemPackets(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	if err := b.chip.SetModem(uart.CTS | uart.DCD); err != nil {
		t.Fatal(err)
	}
	b.opens()
	b.shows(0x91)
	for _, m := range []uart.ModemState{uart.RI, uart.RI | uart.DSR, 0} {
		if err := b.chip.SetModem(m | 0x0f); err != nil { // the lower bits are not lines
			t.Fatal(err)
		}
		b.shows(byte(m) | 1)
	}
	b.driver.mu.Lock()
	defer b.driver.mu.Unlock()
	for _, n := range b.driver.packets {
		if n != 0 {
			t.Errorf("packets with %v bytes of data, want none", b.driver.packets)
		}
	}
}

// shows waits until the driver's last packet has this modem status.
func (b *bed) shows(want byte) {
	b.Helper()
	d := b.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.status[0] != want {
		if d.host.Err() != nil {
			b.Fatalf("the driver sees %#x, want %#x", d.status[0], want)
		}
		d.changed.Wait()
	}
}

// TestTransmitterEmpty: TEMT is set only if nothing waits, nothing is lent, and the far UART is empty.
func TestTransmitterEmpty(t *testing.T) {
	var mu sync.Mutex
	var unsent time.Duration
	b := plugIn(t, uart.PortConfig{Unsent: func() uart.Unsent {
		mu.Lock()
		defer mu.Unlock()
		return uart.Unsent{Left: unsent}
	}})
	b.opens()
	temt := func(want bool, when string) {
		t.Helper()
		status, err := b.driver.modemStatus()
		if got := status[1]&0x60 == 0x60; err != nil || got != want {
			t.Errorf("%s: empty %v, %v; want %v", when, got, err, want)
		}
	}
	temt(true, "at first")
	if _, err := b.driver.write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	temt(false, "a byte waits")
	b.wants("data x")
	temt(false, "a byte is lent")
	b.driver.request(1, 0x0101, 0)
	b.wants("settings DTR on") // gives it back
	temt(true, "the lent byte is given back")
	mu.Lock()
	unsent = time.Second
	mu.Unlock()
	temt(false, "the far UART sends")
	if _, err := b.chip.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.driver.read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	b.driver.mu.Lock()
	defer b.driver.mu.Unlock()
	if b.driver.status[1]&0x60 != 0 {
		t.Errorf("a packet has line status %#x while the far UART sends", b.driver.status[1])
	}
}

// TestClosed: every call after Close fails. A chip can be plugged in only once at a time, and not after Close.
func TestClosed(t *testing.T) {
	b := plugIn(t, uart.PortConfig{})
	dev, wire := net.Pipe()
	if err := b.chip.Serve(dev); err == nil || errors.Is(err, uart.ErrClosed) {
		t.Errorf("a second stream: got %v", err)
	}
	_ = wire.Close()
	for range 2 {
		if err := b.chip.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, _, err := b.chip.Next()
	_, write := b.chip.Write([]byte("x"))
	dev, wire = net.Pipe()
	for what, err := range map[string]error{
		"next": err, "write": write, "set modem": b.chip.SetModem(0), "report line": b.chip.ReportLine(uart.LineParity),
		"break": b.chip.ReportLine(uart.LineBreak), "serve": b.chip.Serve(dev),
	} {
		if !errors.Is(err, uart.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", what, err)
		}
	}
	_ = wire.Close()
}
