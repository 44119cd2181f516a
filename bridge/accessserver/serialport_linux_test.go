package accessserver_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/serialport"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/testenv"
)

// When the port is unplugged the client's session ends; other clients read why before the negotiation; when the port is back,
// sessions work again. The server logs each of these once.
func TestServeSerialUnplugged(t *testing.T) {
	p := devicetest.NewPlug(t)
	port := &serialport.Port{Path: p.Name}
	l := listen(t)
	f := (&far{t: t, dial: dialTCP(t, l)}).startWith(l, accessserver.Config{Open: port.Open, Present: port.Present})
	for range 2 {
		c := f.connect(rfc2217.Config{})
		c.sees("modem CTS|DSR|DCD")
		c.set(devicetest.Coding(t, "19200"))
		c.send("there")
		p.Hears("there")
		p.Send("here")
		c.sees("here")
		p.Out()
		<-c.over
		f.awaitLog("port lost", "unplugged?")
		for range 3 {
			said := f.dial()
			_ = said.SetReadDeadline(time.Now().Add(testenv.Patience))
			got, err := io.ReadAll(said)
			if err != nil || !strings.HasPrefix(string(got), "port not opened: open "+p.Name+": no such device") {
				t.Errorf("a client reads while the port is gone: %q, %v", got, err)
			}
			_ = said.Close()
		}
		p.In()
	}
	f.connect(rfc2217.Config{}).sees("modem CTS|DSR|DCD")
	f.end()
	if n := strings.Count(f.logged(), "level=ERROR"); n != 4 {
		t.Errorf("errors in the log: got %d, want 4: twice lost, twice not opened", n)
	}
}
