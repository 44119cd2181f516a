package accessserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// slow is a line coding at which bytes wait.
var slow = uart.Event{Coding: uart.Coding{Baud: 300, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}}

// holding keeps the transmitter from sending.
var holding = uart.Event{Control: uart.Control{Break: uart.LevelOn}}

// sent returns what left the UART, at any line coding.
func (f *far) sent() string {
	var all strings.Builder
	for _, r := range f.did() {
		if _, data, ok := strings.Cut(r, ": "); ok {
			all.WriteString(data)
		}
	}
	return all.String()
}

// Line errors are reported before the byte that they belong to, and only those that were asked for. A break that is reported comes
// without its NUL.
func TestLineErrorsAtTheirByte(t *testing.T) {
	script, err := simulate.ParseInject("test", strings.NewReader(`
		at 1s data "a"
		at 1s parity-error 0x42
		at 1s data "c"
		at 1s framing-error 0x44
		at 1s break
		at 1s overrun
		at 1s data "end"`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mask uart.LineState
		want []string
	}{
		{uart.LineErrors, []string{"modem none", "a", "line parity", "Bc", "line framing", "D", "line break", "line overrun", "end"}},
		{uart.LineBreak, []string{"modem none", "aBcD", "line break", "end"}},
		{0, []string{"modem none", "aBcD\x00end"}},
	} {
		t.Run(tt.mask.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inMemory(t, script...).connect(rfc2217.Config{LineMask: tt.mask})
				c.set(uart.Event{Coding: uart.DefaultCoding()})
				time.Sleep(2 * time.Second)
				synctest.Wait()
				devicetest.Expect(t, "came", c.seen(), tt.want)
			})
		})
	}
}

// A change of the line coding does not garble bytes that wait before it.
func TestCodingChangesBehindItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.connect(rfc2217.Config{})
		text := strings.Repeat("/?!\r\n", 800) // more than the UART holds
		c.set(slow)
		c.send(text)
		c.set(uart.Event{Coding: uart.Coding{Baud: 9600, DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1}})
		c.send("\x06050\r\n")
		time.Sleep(slow.Coding.LineTime(len(text)) + time.Second)
		synctest.Wait()
		devicetest.Expect(t, "the UART", f.did(), []string{
			"opened", "settings 300 8N1", "300 8N1: " + text, "settings 9600 7E1", "9600 7E1: \x06050\r\n",
		})
	})
}

// A change of the line coding does not wait forever if no byte leaves, nor if the bytes are purged.
func TestCodingChangesUnderHeldBytes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		purge time.Duration // when the bytes are purged; 0: never
		after time.Duration // when the change is to come
	}{
		{"held", 0, 3 * time.Second},
		{"purged", time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var device uart.Device
				f, l := &far{t: t}, newMemory()
				f.dial = l.dial
				simulated := &simulate.Loopback{}
				simulated.Observe(f.observe)
				f.start(l, func(ctx context.Context) (_ uart.Device, err error) {
					device, err = simulated.Open(ctx)
					return device, err
				})
				c := f.connect(rfc2217.Config{})
				c.set(holding)
				c.send("held")
				c.set(slow)
				synctest.Wait()
				began := time.Now()
				if tt.purge > 0 {
					time.Sleep(tt.purge)
					if err := device.Purge(uart.PurgeTx); err != nil {
						t.Fatal(err)
					}
				}
				f.does("settings 300 8N1")
				if took := time.Since(began); took < tt.after || took > tt.after+time.Second {
					t.Errorf("the change came after %v, want about %v", took, tt.after)
				}
			})
		})
	}
}

// The answer to a TIMING-MARK means that the UART has taken all bytes before it, and no more than that.
func TestMarkInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.connect(rfc2217.Config{})
		c.set(slow)
		const size, holds = 5000, 3 << 10
		c.send(strings.Repeat("m", size))
		if !c.Mark() {
			t.Fatal("no mark is sent to this server")
		}
		time.Sleep(slow.Coding.LineTime(size - holds - 100))
		synctest.Wait()
		if seen := c.seen(); slices.Contains(seen, "marked 5000") {
			t.Errorf("answered when %d of %d bytes had left, and %d fit", len(f.sent()), size, holds)
		}
		time.Sleep(slow.Coding.LineTime(200))
		synctest.Wait()
		if seen := c.seen(); !slices.Contains(seen, "marked 5000") {
			t.Errorf("not answered when %d of %d bytes had left, and %d fit", len(f.sent()), size, holds)
		}
	})
}

// TEMT is reported when the last bit has left, to a client that asked for it.
func TestTransmitterEmptyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t).connect(rfc2217.Config{LineMask: uart.LineTEMT})
		c.set(slow)
		c.send("last")
		time.Sleep(slow.Coding.LineTime(4) - 10*time.Millisecond)
		synctest.Wait()
		devicetest.Expect(t, "before the end", c.seen(), []string{"modem none", "las"})
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		devicetest.Expect(t, "at the end", c.seen(), []string{"modem none", "last", "line TEMT"})
	})
}

// A purge drops what waits in the UART, and nothing that comes after it.
func TestPurgeFromTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.connect(rfc2217.Config{})
		c.set(slow)
		c.send(strings.Repeat("a", 2000))
		time.Sleep(slow.Coding.LineTime(100))
		if err := c.Apply(uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeTx}); err != nil {
			t.Fatal(err)
		}
		c.send("b")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := f.sent(); len(got) < 99 || len(got) > 102 || strings.Trim(got, "a") != "b" {
			t.Errorf("left the UART: %q, want about 100 a and a b", got)
		}
		c.sees(f.sent())
	})
}

// FLOWCONTROL-SUSPEND from the client stops the data that comes to it, but not the answers.
func TestSuspendedByTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.call()
		defer c.Close()
		c.say(rfc2217.AppendSettings(nil, fast))
		for range 4 {
			_, _, _ = c.next() // the answers
		}
		c.ask(rfc2217.FlowSuspend)
		c.say([]byte("held"))
		f.does("20000000 8N1: held")
		c.ask(rfc2217.SetDataSize, 0)
		c.hears(rfc2217.SetDataSize, 8)
		c.ask(rfc2217.FlowResume)
		if data, _, err := c.next(); string(data) != "held" {
			t.Errorf("after the pause: got %q, %v, want what was held", data, err)
		}
	})
}

// If a client suspends the data and then leaves, its own bytes are sent all the same.
func TestSuspendsAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.call()
		c.say(rfc2217.AppendSettings(nil, fast))
		c.ask(rfc2217.FlowSuspend)
		text := strings.Repeat("0123456789", 700) // more than the UART sends while nobody reads what comes back
		c.say([]byte(text))
		_ = c.Close()
		began := time.Now()
		f.does("closed")
		if got := f.sent(); got != text || time.Since(began) > 10*time.Second {
			t.Errorf("after %v %d of %d bytes have left the UART", time.Since(began), len(got), len(text))
		}
	})
}

// What a client has sent leaves before the UART is closed, however slow the line is.
func TestLastBytesOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.connect(rfc2217.Config{})
		text := strings.Repeat("print this. ", 600)
		c.set(slow)
		c.send(text)
		c.end()
		time.Sleep(slow.Coding.LineTime(len(text)) - time.Second)
		f.connect(rfc2217.Config{}).sees("modem none") // a client that connects meanwhile waits, and costs it nothing
		devicetest.Expect(t, "the UART", f.did(), []string{"opened", "settings 300 8N1", "300 8N1: " + text, "closed", "opened"})
		f.awaitLog("client left", "up=7200")
	})
}

// Bytes that cannot leave do not keep the UART forever.
func TestLastBytesHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		c := f.connect(rfc2217.Config{})
		c.set(holding)
		c.send(strings.Repeat("h", 3000))
		c.end()
		synctest.Wait()
		began := time.Now()
		f.does("closed")
		if took := time.Since(began); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("the UART was given up after %v, want 30 s", took)
		}
		f.awaitLog("bytes not sent")
	})
}

// A client that has closed only its half gets everything that comes back.
func TestHalfClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		conn := f.dial()
		hello := rfc2217.AppendSettings(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort), slow)
		text := strings.Repeat("back again. ", 500)
		if _, err := conn.Write(append(hello, text...)); err != nil {
			t.Fatal(err)
		}
		_ = conn.(*wire).CloseWrite()
		got, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(got), text[len(text)/2:]) {
			t.Errorf("came back: %d bytes, %v; want the end of the text in it", len(got), err)
		}
		_ = conn.Close()
	})
}

// A client that connects and sends nothing does not keep the port.
func TestSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		silent := f.dial()
		defer silent.Close()
		f.awaitLog("it sends nothing", "telnetcpc attach")
		f.connect(rfc2217.Config{}).sees("modem none")
	})
}

// A client that connects while too many wait is cut off.
func TestTooManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		owner := f.connect(rfc2217.Config{})
		var others []net.Conn
		for range 40 {
			others = append(others, f.dial())
		}
		refused, cut := 0, 0
		for _, c := range others {
			switch got, _ := io.ReadAll(c); {
			case strings.HasPrefix(string(got), "Port already in use"):
				refused++
			case len(got) == 0:
				cut++
			}
			_ = c.Close()
		}
		if refused != 32 || cut != 8 {
			t.Errorf("got %d refused and %d cut off, want 32 and 8", refused, cut)
		}
		owner.send("x")
		owner.sees("x")
	})
}

// A failed accept ends nothing. If the listener is closed by somebody else, the server ends.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		f := serve(t, l, l.dial)
		l.fail <- errors.New("too many open files")
		f.connect(rfc2217.Config{}).sees("modem none")
		f.awaitLog("client not accepted", "too many open files")

		closed := newMemory()
		_ = closed.Close()
		if err := accessserver.New(accessserver.Config{}).Serve(t.Context(), closed); !errors.Is(err, net.ErrClosed) {
			t.Errorf("serve on a closed listener: got %v", err)
		}
	})
}
