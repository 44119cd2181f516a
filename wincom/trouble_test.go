package wincom_test

import (
	"errors"
	"strings"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// Devices that are not an end of a pair are refused with a description, and closed.
func TestWrongDriver(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*bench)
		want    string
	}{
		{"a real serial port", func(b *bench) { b.pair.Caps = 0 }, "CNCB0 is not an end of a com0com pair but a device of another driver: the driver does not have com0com's extension, which"},
		{"a driver that refuses the request", func(b *bench) { b.pair.Caps, b.pair.RefusesInsert = 0, true }, "another driver: the parameter is incorrect, which"},
		{"a driver that inserts too little", func(b *bench) { b.pair.Caps = wincom.InsertGet | wincom.InsertModemStatus }, "inserts too little (0x1000002)"},
		{"another driver's name", func(b *bench) { b.pair.Foreign = true }, `COM9 is not an end of a com0com pair but \Device\Serial0, which`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			tt.prepare(b)
			_, err := b.open(uart.PortConfig{Pinned: uart.Coding{Baud: 9600}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "--line") {
				t.Errorf("got %v, want %q, and the way out", err, tt.want)
			}
			d, err := b.pair.Open("CNCB0")
			if err != nil {
				t.Fatalf("the end is still open: %v", err)
			}
			_ = d.Close()
		})
	}
}

// With --line such a device carries bytes and, if the driver has the plain insertion, DTR and RTS in order.
func TestPlain(t *testing.T) {
	b := newBench(t)
	b.pair.Caps, b.pair.Foreign = 0, true
	b.pair.Ends.AgentPins, b.pair.Ends.ApplicationPins = wincom.DefaultPins(), wincom.DefaultPins()
	b.startWith(uart.PortConfig{Pinned: uart.Coding{DataBits: 8, Parity: uart.ParityEven, StopBits: uart.Stop2}})
	if got := b.requests; got[1] != "SET_BAUD_RATE 80250000" || got[2] != "SET_LINE_CONTROL 020208" {
		t.Errorf("this end did not get the pinned coding: %q", got)
	}
	b.wants("opened", "settings DTR off RTS off")
	a := b.program()
	b.write(a, "A\xff")
	a.Lines(uart.Control{RTS: uart.LevelOff})
	b.set(a, "300")
	b.write(a, "B")
	b.wants("settings DTR on RTS on", `"A\xff"`, "settings RTS off", `"B"`)
	b.linesAndBytes(a)
	if f := b.port.Fidelity(); f.Carries(uart.CarriesBaud) || f.Carries(uart.CarriesModem) || !f.Carries(uart.CarriesDTR|uart.CarriesRTS|uart.CarriesOrder) {
		t.Errorf("fidelity: got %v", f)
	}
	if !strings.Contains(b.log.String(), `Device\\Serial0`) && !strings.Contains(b.log.String(), "another driver") {
		t.Errorf("the log does not describe the device: %s", &b.log)
	}
}

// If the driver inserts nothing at all, bytes of all values are still carried.
func TestPlainBytes(t *testing.T) {
	b := newBench(t)
	b.pair.Caps, b.pair.RefusesInsert, b.pair.Foreign = 0, true, true
	b.pair.Ends.AgentPins, b.pair.Ends.ApplicationPins = wincom.DefaultPins(), wincom.DefaultPins()
	b.startWith(uart.PortConfig{Pinned: uart.DefaultCoding()})
	b.wants("opened")
	a := b.program()
	b.write(a, "A\xff\x00\xff\x03\xffB")
	b.wants(`"A\xff\x00\xff\x03\xffB"`)
	b.linesAndBytes(a)
	if f := b.port.Fidelity(); f != uart.CarriesBreakIn {
		t.Errorf("fidelity: got %v", f)
	}
}

// linesAndBytes checks what every plain port carries to the application.
func (b *bench) linesAndBytes(a interface {
	Modem() uart.ModemState
	Read([]byte) (int, error)
}) {
	b.Helper()
	if err := b.port.SetModem(uart.CTS | uart.DSR | uart.DCD); err != nil {
		b.Errorf("set modem: %v", err)
	}
	if m := a.Modem(); m != uart.CTS|uart.DSR|uart.DCD {
		b.Errorf("the application sees %v", m)
	}
	if _, err := b.port.Write([]byte("down")); err != nil {
		b.Error(err)
	}
	got := make([]byte, 8)
	if n, err := a.Read(got); err != nil || string(got[:n]) != "down" {
		b.Errorf("the application reads %q, %v", got[:n], err)
	}
}

// com0com 2.1 does not report the end of a break, so no break is carried. All else is.
func TestOldDriver(t *testing.T) {
	b := newBench(t)
	b.pair.Caps = 0x03000303
	b.start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	a.Lines(uart.Control{Break: uart.LevelOn})
	a.Lines(uart.Control{Break: uart.LevelOff})
	b.set(a, "300")
	b.wants("settings 300 8N1")
	if b.port.Fidelity().Carries(uart.CarriesBreak) {
		t.Error("the port claims to carry breaks")
	}
	if !strings.Contains(b.log.String(), "breaks are not carried") {
		t.Errorf("nothing is logged: %s", &b.log)
	}
}

// Records that are lost because the driver's queue is full: once the queue is empty, the port queries the driver and
// reports the current state, after the bytes that were queued.
func TestLostRecords(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	room := make([]byte, 64<<10)
	for i := range room {
		room[i] = 'x'
	}
	b.write(a, string(room))
	b.set(a, "300 7E1")
	a.Lines(uart.Control{RTS: uart.LevelOff})
	a.Lines(uart.Control{Break: uart.LevelOn})
	got := 0
	for got < len(room) {
		p, e, err := b.port.Next()
		if err != nil || e.Kind != uart.KindData {
			t.Fatalf("next after %d bytes: %v, %v", got, e, err)
		}
		got += len(p)
	}
	b.wants("settings 300 7E1", "settings RTS off", "settings break on")
	if !strings.Contains(b.log.String(), "queue was full") {
		t.Errorf("nothing is logged: %s", &b.log)
	}
	a.Lines(uart.Control{Break: uart.LevelOff})
	b.wants("settings break off")

	b.write(a, string(room))
	_ = a.Close()
	for got = 0; got < len(room); {
		p, e, err := b.port.Next()
		if err != nil || e.Kind != uart.KindData {
			t.Fatalf("next after %d bytes: %v, %v", got, e, err)
		}
		got += len(p)
	}
	b.wants("settings DTR off", "closed")
	if n := b.announcedCloses(); n != 1 {
		t.Errorf("announced closes: got %d, want 1", n)
	}
}

// A record that is lost without an error is noticed once the stream has been silent for a while.
func TestSilentLoss(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	b.set(a, "300")
	b.pair.EditQueue(func([]byte) []byte { return nil })
	b.write(a, "x")
	b.wants(`"x"`, "settings 300 8N1")
}

// Records of unknown kinds are ignored and logged once a code. A damaged byte (EmuNoise) is data.
func TestStrangeRecords(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	b.set(a, "300")
	b.pair.EditQueue(func(q []byte) []byte {
		return append(q, unhex(t, "ff 01 04 41 42 ff 55 43 ff 55 44 ff 56 ff 11 09 09 09 45")...)
	})
	b.wants("settings 300 8N1", `"ABCDE"`)
	if n := strings.Count(b.log.String(), "unknown kind"); n != 2 {
		t.Errorf("got %d warnings, want one for each of two codes: %s", n, &b.log)
	}
}

// A close is announced while Next is not called and the stream still has bytes before it; it ends a blocked Write.
func TestCloseIsAnnounced(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	b.write(a, "up")
	b.wants(`"up"`)
	b.write(a, "held")
	done := make(chan error, 1)
	go func() {
		n, err := b.port.Write(make([]byte, 100_000))
		if err == nil && (n == 0 || n == 100_000) {
			err = errors.New("all or nothing was written")
		}
		done <- err
	}()
	one := make([]byte, 1)
	if _, err := a.Read(one); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if err := <-done; err != nil {
		t.Errorf("write: %v", err)
	}
	b.eventually("the close is announced", func() bool { return b.announcedCloses() == 1 })

	// Another program opens the port before Next has reached the close. It gets what is written now.
	a = b.program()
	b.eventually("the other program is seen", func() bool {
		n, err := b.port.Write([]byte("x"))
		return n == 1 && err == nil
	})
	if _, err := a.Read(one); err != nil || one[0] != 'x' {
		t.Errorf("the other program reads %q, %v", one, err)
	}
	b.wants(`"held"`, "settings DTR off RTS off", "closed", "opened", "settings DTR on RTS on")
	if n := b.announcedCloses(); n != 1 {
		t.Errorf("announced closes: got %d, want 1", n)
	}
	_ = a.Close()
	b.wants("settings DTR off RTS off", "closed")
	if n := b.announcedCloses(); n != 2 {
		t.Errorf("announced closes: got %d, want 2", n)
	}
	if n, err := b.port.Write([]byte("to nobody")); n != 0 || err != nil {
		t.Errorf("write to nobody: got %d, %v", n, err)
	}
}

// With EmuOverrun the driver drops bytes: it is logged at the start.
func TestEmuOverrunIsLogged(t *testing.T) {
	b := newBench(t)
	b.pair.Ends.EmuOverrun, b.pair.EmuOverrun = true, true
	b.start()
	if !strings.Contains(b.log.String(), "setupc change CNCB0 EmuOverrun=-") {
		t.Errorf("the log: %s", &b.log)
	}
}

// A failing device is not a closed port: the error has the operation and the names.
func TestDeviceFails(t *testing.T) {
	b := newBench(t)
	port, err := wincom.On(failing{b.pair}).Open(t.Context(), uart.PortConfig{Path: "COM9"})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	_, _, err = port.Next()
	if !errors.Is(err, errGone) || errors.Is(err, uart.ErrClosed) || !strings.Contains(err.Error(), "port COM9: read CNCB0") {
		t.Errorf("next: got %v, want the device's error with the names", err)
	}
}

// A program closes while the queue is full, another one opens, and both records are lost: Next still returns the announced
// close before the other's open, and the next close is announced again.
func TestLostCloseIsReported(t *testing.T) {
	b := newBench(t).start()
	a := b.program()
	b.wants("opened", "settings DTR on RTS on")
	room := strings.Repeat("x", 64<<10)
	b.write(a, room)
	_ = a.Close()
	b.eventually("the close is announced", func() bool { return b.announcedCloses() == 1 })
	a = b.program()
	b.eventually("the other program is seen", func() bool {
		n, err := b.port.Write([]byte("x"))
		return n == 1 && err == nil
	})
	for got := 0; got < len(room); {
		p, e, err := b.port.Next()
		if err != nil || e.Kind != uart.KindData {
			t.Fatalf("next after %d bytes: %v, %v", got, e, err)
		}
		got += len(p)
	}
	b.wants("settings DTR off RTS off", "closed", "opened", "settings DTR on RTS on")
	b.write(a, "of the other")
	b.wants(`"of the other"`)
	_ = a.Close()
	b.wants("settings DTR off RTS off", "closed")
	if n := b.announcedCloses(); n != 2 {
		t.Errorf("announced closes: got %d, want 2", n)
	}
}
