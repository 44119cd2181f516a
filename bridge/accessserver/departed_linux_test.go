package accessserver_test

import (
	"testing"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// A client that goes while the UART takes nothing is seen to go, though its FIN stands behind bytes that nobody reads.
func TestGoesWhileTheUARTIsHeld(t *testing.T) {
	f := overTCP(t)
	conn := f.dial()
	hello := rfc2217.AppendSettings(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort), holding)
	if _, err := conn.Write(append(hello, make([]byte, 64<<10)...)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	f.says("client gone, its last bytes go out")
}
