package accessserver_test

import (
	"testing"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// It is noticed that a client leaves while the UART accepts nothing, although its FIN comes after bytes that nobody reads.
func TestGoesWhileTheUARTIsHeld(t *testing.T) {
	t.Parallel()
	f := overTCP(t)
	c := f.call()
	c.say(rfc2217.AppendSettings(nil, holding))
	for heard := ""; heard != "\x00"; { // the echo of the break is the last thing that is sent to the client
		data, _, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		heard = string(data)
	}
	c.ask(rfc2217.SetLineMask, 0)
	for m := (telnet.Message{}); len(m.Sub) == 0 || m.Sub[0] != byte(rfc2217.SetLineMask+rfc2217.FromServer); {
		var err error
		if _, m, err = c.next(); err != nil {
			t.Fatal(err)
		}
	}
	c.say(make([]byte, 64<<10))
	_ = c.Close()
	f.awaitLog("client gone; its last bytes are being sent")
}
