package accessserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// fast is a line that takes no time.
var fast = uart.Event{Coding: uart.Coding{Baud: 20_000_000, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}}

// Each value of each setting, in this order, and the answer of a server whose UART has a loopback plug.
func TestAnswers(t *testing.T) {
	c := overTCP(t).call()
	defer c.Close()
	for _, tt := range []struct {
		code rfc2217.Code
		ask  []byte
		want []byte
	}{
		{rfc2217.SetModemMask, []byte{0xFF}, nil},
		{rfc2217.SetModemMask, []byte{0}, nil},                              // from here on no modem states are sent
		{rfc2217.SetBaudRate, []byte{0, 0, 0, 0}, []byte{0, 0, 0x25, 0x80}}, // 0 asks: 9600
		{rfc2217.SetBaudRate, []byte{0, 0, 0, 1}, nil},
		{rfc2217.SetBaudRate, []byte{0, 0, 0xFF, 0}, nil}, // 65280: its 255 is doubled both ways
		{rfc2217.SetBaudRate, []byte{0xFF, 0xFF, 0xFF, 0xFF}, nil},
		{rfc2217.SetBaudRate, []byte{0, 1, 0xC2, 0}, nil},
		{rfc2217.SetBaudRate, []byte{0, 0, 0, 0}, []byte{0, 1, 0xC2, 0}},
		{rfc2217.SetDataSize, []byte{0}, []byte{8}},
		{rfc2217.SetDataSize, []byte{5}, nil},
		{rfc2217.SetDataSize, []byte{6}, nil},
		{rfc2217.SetDataSize, []byte{7}, nil},
		{rfc2217.SetDataSize, []byte{9}, []byte{7}}, // no UART has it: the answer is what is in force
		{rfc2217.SetDataSize, []byte{8}, nil},
		{rfc2217.SetParity, []byte{0}, []byte{1}},
		{rfc2217.SetParity, []byte{2}, nil},
		{rfc2217.SetParity, []byte{3}, nil},
		{rfc2217.SetParity, []byte{4}, nil},
		{rfc2217.SetParity, []byte{5}, nil},
		{rfc2217.SetParity, []byte{6}, []byte{5}},
		{rfc2217.SetParity, []byte{1}, nil},
		{rfc2217.SetStopSize, []byte{0}, []byte{1}},
		{rfc2217.SetStopSize, []byte{2}, nil},
		{rfc2217.SetStopSize, []byte{3}, nil},
		{rfc2217.SetStopSize, []byte{4}, []byte{3}},
		{rfc2217.SetStopSize, []byte{1}, nil},
		{rfc2217.SetControl, []byte{0}, []byte{1}},
		{rfc2217.SetControl, []byte{13}, []byte{14}},
		{rfc2217.SetControl, []byte{2}, nil},
		{rfc2217.SetControl, []byte{13}, []byte{15}}, // an outbound value alone is for both directions
		{rfc2217.SetControl, []byte{16}, nil},
		{rfc2217.SetControl, []byte{0}, []byte{2}}, // an inbound one is not
		{rfc2217.SetControl, []byte{17}, nil},
		{rfc2217.SetControl, []byte{13}, []byte{16}},
		{rfc2217.SetControl, []byte{18}, nil},
		{rfc2217.SetControl, []byte{19}, nil},
		{rfc2217.SetControl, []byte{15}, nil},
		{rfc2217.SetControl, []byte{14}, nil},
		{rfc2217.SetControl, []byte{1}, nil},
		{rfc2217.SetControl, []byte{4}, []byte{6}},
		{rfc2217.SetControl, []byte{7}, []byte{9}},
		{rfc2217.SetControl, []byte{10}, []byte{12}},
		{rfc2217.SetControl, []byte{6}, nil},
		{rfc2217.SetControl, []byte{9}, nil},
		{rfc2217.SetControl, []byte{12}, nil},
		{rfc2217.SetControl, []byte{20}, []byte{1}}, // unknown: answered as the outbound flow control
		{rfc2217.SetLineMask, []byte{0}, nil},
		{rfc2217.SetLineMask, []byte{0xEF}, nil},
		{rfc2217.SetLineMask, []byte{0}, nil},
		{rfc2217.SetControl, []byte{8}, nil},
		{rfc2217.SetControl, []byte{7}, []byte{8}},
		{rfc2217.SetControl, []byte{11}, nil},
		{rfc2217.SetControl, []byte{10}, []byte{11}},
		{rfc2217.SetControl, []byte{3}, nil},
		{rfc2217.PurgeData, []byte{1}, nil},
		{rfc2217.PurgeData, []byte{2}, nil},
		{rfc2217.PurgeData, []byte{3}, nil},
		{rfc2217.PurgeData, []byte{0}, nil}, // reserved, like the following ones
		{rfc2217.PurgeData, []byte{4}, nil},
		{rfc2217.PurgeData, []byte{255}, nil},
		{rfc2217.Signature, nil, []byte("the far end")},
	} {
		if tt.want == nil {
			tt.want = tt.ask
		}
		c.ask(tt.code, tt.ask...)
		c.hears(tt.code, tt.want...)
	}
}

// A break goes on and off again. A client that has asked for line states gets a notification for its echo, and no NUL.
func TestAnswerToBreak(t *testing.T) {
	c := overTCP(t).call()
	defer c.Close()
	c.ask(rfc2217.SetLineMask, 16)
	c.hears(rfc2217.SetLineMask, 16)
	c.hears(rfc2217.Signature, []byte("telnetcpc")...)
	c.ask(rfc2217.SetLineMask, 16)
	c.hears(rfc2217.SetLineMask, 16)
	c.ask(rfc2217.SetControl, 5)
	seen := map[string]bool{}
	for len(seen) < 2 { // the answer and the line state come from two goroutines
		data, m, err := c.next()
		switch {
		case err != nil:
			t.Fatal(err)
		case len(data) > 0:
			seen["data "+string(data)] = true
		case m.Command == telnet.SB:
			seen[string(m.Sub)] = true
		}
	}
	for _, want := range []string{"\x69\x05", "\x6a\x10"} {
		if !seen[want] {
			t.Errorf("break on: got %v, want %q among it", seen, want)
		}
	}
	c.ask(rfc2217.SetControl, 4)
	c.hears(rfc2217.SetControl, 5)
	c.ask(rfc2217.SetControl, 6)
	c.hears(rfc2217.SetControl, 6)
	c.say([]byte("behind it"))
	if data, _, err := c.next(); len(data) == 0 || data[0] == 0 || err != nil {
		t.Errorf("got %q, %v, want the data after the break, and no NUL", data, err)
	}
}

// The UART gets what a client sets, all of one Apply in one step, and everything is confirmed.
func TestSettingsReachTheUART(t *testing.T) {
	f := overTCP(t)
	c := f.connect(rfc2217.Config{AckTimeout: testenv.Patience})
	all := uart.Event{
		Coding:  uart.Coding{Baud: 65280, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1},
		Flow:    uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS},
		Control: uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOff},
	}
	c.set(all)
	f.does("settings 65280 7E1 rtscts DTR on RTS off")
	c.set(uart.Event{Flow: uart.Flow{Out: uart.FlowXonXoff, In: uart.FlowNone}})
	f.does("settings xonxoff/none")
	c.set(uart.Event{Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOn}})
	f.does("settings DTR off RTS on")
	c.send("x") // its echo comes after the answers
	c.sees("x")
	c.end()
	for _, s := range c.seen() {
		if strings.HasPrefix(s, "refused") {
			t.Error(s)
		}
	}
}

// Every byte value next to every special one, and runs of 255, come back unchanged.
func TestBytesBothWays(t *testing.T) {
	f := overTCP(t)
	c := f.connect(rfc2217.Config{})
	c.sees("modem none")
	c.set(fast)
	var p []byte
	for v := range 256 {
		b := byte(v)
		p = append(p, b, 0xFF, b, '\r', b, 0, b, '\n', b, 0xF0, b, 0x11, b)
	}
	for n := range 20 {
		p = append(append(p, bytes.Repeat([]byte{0xFF}, 4090+n)...), 'x')
	}
	c.send(string(p))
	all := func() string { return strings.Join(c.seen()[1:], "") } // the first is the modem state
	devicetest.Eventually(t, "all came back", func() bool { return len(all()) >= len(p) })
	if all() != string(p) {
		t.Error("what came back differs from what was sent")
	}
	f.does("20000000 8N1: " + string(p))
}

// The modem state is sent at once, and after each change. The loopback plug wires DTR to DSR, DCD and RI, RTS to CTS.
func TestModemState(t *testing.T) {
	c := overTCP(t).connect(rfc2217.Config{})
	c.sees("modem none")
	c.set(uart.Event{Control: uart.Control{RTS: uart.LevelOn}})
	c.sees("modem CTS")
	c.set(uart.Event{Control: uart.Control{DTR: uart.LevelOn}})
	c.sees("modem CTS|DSR|DCD|RI")
	c.set(uart.Event{Control: uart.Control{RTS: uart.LevelOff}})
	c.sees("modem DSR|DCD|RI")
}

// A client that sends raw bytes is sent nothing, because it may be a machine. The log says what came and what to do.
func TestRawClient(t *testing.T) {
	f := overTCP(t)
	raw := f.dial()
	if _, err := io.WriteString(raw, "GET / HTTP/1.1\x1b[2J\r\n"); err != nil {
		t.Fatal(err)
	}
	f.awaitLog("raw bytes", `GET / HTTP/1.1\\x1b[2J\\r\\n`, "telnetcpc attach PORT rfc2217://127.0.0.1:")
	_ = raw.SetReadDeadline(time.Now().Add(testenv.Patience))
	if _, err := io.ReadAll(raw); err != nil && !isReset(err) {
		t.Errorf("the connection stays open: %v", err)
	}
	f.connect(rfc2217.Config{}).sees("modem none")
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset") }

// A client that refuses COM-PORT-OPTION is disconnected.
func TestClientWithoutComPort(t *testing.T) {
	f := overTCP(t)
	c := &caller{Conn: f.dial(), t: t}
	c.say(telnet.AppendVerb(nil, telnet.WONT, telnet.ComPort))
	f.awaitLog("without COM-PORT-OPTION", "telnetcpc attach")
	f.connect(rfc2217.Config{}).sees("modem none")
}

// A second client is refused with the reason, and does not disturb the first.
func TestSecondClient(t *testing.T) {
	f := overTCP(t)
	first := f.connect(rfc2217.Config{})
	first.set(fast)
	second := f.dial()
	if _, err := second.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)); err != nil {
		t.Fatal(err)
	}
	_ = second.SetReadDeadline(time.Now().Add(testenv.Patience))
	got, err := io.ReadAll(second)
	if want := "Port already in use\r\n"; err != nil || string(got) != want { // and not which client has it
		t.Errorf("the second client: got %q, %v, want %q", got, err, want)
	}
	f.awaitLog("client refused", "owner=127.0.0.1:")
	first.send("still here")
	first.sees("still here")
}

// A program that closes its port and opens it again is not refused because of its own last session.
func TestOpensAgainAtOnce(t *testing.T) {
	f := overTCP(t)
	for range 50 {
		c := f.connect(rfc2217.Config{})
		_ = c.Close()
		c.end()
	}
	if strings.Contains(f.logged(), "in use") {
		t.Error("a client was refused while nobody had the port")
	}
}

// The bytes of a client that sends and closes at once, with the server's first bytes unread, are sent to the line.
func TestSendsAndCloses(t *testing.T) {
	f := overTCP(t)
	text := strings.Repeat("all of it goes out. ", 400) // more than the UART holds
	for i := range 10 {
		c := f.dial()
		hello := telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)
		hello = rfc2217.AppendSettings(hello, fast)
		if _, err := c.Write(append(hello, text...)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		devicetest.Eventually(t, "the client's end", func() bool { return strings.Count(strings.Join(f.did(), ";"), "closed") == i+1 })
		if got := f.did(); !slices.Contains(got, "20000000 8N1: "+text) {
			t.Fatalf("left the UART: %.200q", got)
		}
		f.mu.Lock()
		f.records = slices.DeleteFunc(f.records, func(r string) bool { return r != "closed" })
		f.mu.Unlock()
	}
}

// A hostile client loses its session, and the log says why. The next client has the port.
func TestHostileClients(t *testing.T) {
	settings := telnet.AppendSub(nil, telnet.ComPort, bytes.Repeat([]byte{byte(rfc2217.SetControl), 0}, 500))
	var verbs []byte
	for o := range 256 {
		verbs = telnet.AppendVerb(verbs, telnet.DO, telnet.Option(o))
		verbs = telnet.AppendVerb(verbs, telnet.DONT, telnet.Option(o))
	}
	for _, tt := range []struct {
		name   string
		begin  []byte
		flood  []byte
		reason string
	}{
		{"a subnegotiation without an end", []byte{255, 250, 44, 1}, make([]byte, 4096), "subnegotiation of more than 1048576 bytes"},
		{"settings whose answers it does not read", nil, settings, "asks more than it reads"},
		{"options whose answers it does not read", nil, verbs, "asks more than it reads"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := overTCP(t)
			c := f.call()
			flooding := make(chan error, 1)
			go func() {
				_ = c.SetWriteDeadline(time.Now().Add(testenv.Patience))
				_, err := c.Write(tt.begin)
				for err == nil {
					_, err = c.Write(tt.flood)
				}
				flooding <- err
			}()
			f.awaitLog("client disconnected", tt.reason)
			var late net.Error
			if err := <-flooding; errors.As(err, &late) && late.Timeout() {
				t.Error("the connection stays open")
			}
			f.connect(rfc2217.Config{}).sees("modem none")
		})
	}
}

// The server stops at once, whatever waits: here a client that sends to a blocked line and reads nothing.
func TestEndsPromptly(t *testing.T) {
	f := overTCP(t)
	c := f.connect(rfc2217.Config{})
	c.set(uart.Event{Coding: uart.Coding{Baud: 300}, Control: uart.Control{Break: uart.LevelOn}})
	sent := make(chan error, 1)
	go func() { sent <- writeAll(c.Client, make([]byte, 16<<20)) }()
	f.does("settings 300 break on")
	f.end()
	if err := <-sent; err == nil {
		t.Error("16 MiB were taken by a UART that sends nothing")
	}
	f.awaitLog("the server is shutting down")
}

// If a device cannot be opened, or is unplugged, the session ends with the reason.
func TestDeviceFails(t *testing.T) {
	listen := func() *far {
		l := listen(t)
		f := &far{t: t, dial: dialTCP(t, l)}
		opens := 0
		return f.start(l, func(ctx context.Context) (uart.Device, error) {
			if opens++; opens == 1 {
				return nil, errors.New("open /dev/ttyUSB0:\nno such device")
			}
			d, err := new(simulate.Loopback).Open(ctx)
			return pulled{d}, err
		})
	}
	f := listen()
	refused := f.dial()
	_, err := rfc2217.Open(t.Context(), refused, rfc2217.Config{})
	_ = refused.Close()
	var noDevice *rfc2217.NoDeviceError
	if !errors.As(err, &noDevice) || string(noDevice.Text) != "port not opened: open /dev/ttyUSB0: no such device\r\n" {
		t.Errorf("got %v, want the server's message", err)
	}
	f.awaitLog("port not opened", "no such device")
	conn := f.dial()
	c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
	f.awaitLog("port lost", "input/output error")
	for err == nil { // the session may or may not have begun before that
		_, _, err = c.Next()
	}
	_ = conn.Close()
	if !errors.Is(err, io.EOF) {
		t.Errorf("it ended with %v, want EOF", err)
	}
}

// pulled is a device that is gone.
type pulled struct{ uart.Device }

func (pulled) Next() ([]byte, uart.Event, error) {
	return nil, uart.Event{}, errors.New("input/output error")
}
