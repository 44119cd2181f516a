package winetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"telnetcpc/bridge/uart"
)

// script is what the simulated device does by itself. The times only give the order.
const script = `at 400ms modem CTS
at 800ms modem CTS|DSR
at 1.2s  modem CTS|DSR|DCD
at 1.6s  modem CTS|DSR|DCD|RI
at 2s    break
at 2.4s  data "from the device"
at 2.8s  modem DSR
`

// Events that a program waits for (winbase.h).
const (
	evCTS, evDSR, evRLSD, evBreak, evRing = 0x08, 0x10, 0x20, 0x40, 0x100

	evAll = evCTS | evDSR | evRLSD | evBreak | evRing
)

// TestInject: telnetcpc.exe is also the access server, with a device that acts by itself. A Windows program that waits for
// events gets every one of them. Also 1.5 stop bits, to which ser2net does not reply.
func TestInject(t *testing.T) {
	w := needWine(t)
	t.Parallel()
	file := filepath.Join(t.TempDir(), "what the device does") // blanks test the quoting of arguments
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	program := windowsPath(telnetcpc(t))
	server := start(t, w.command(nil, program, "serve", "-v", "--listen", address, "--simulate", "loopback", "--inject", windowsPath(file)))
	server.awaitOutput(t, "msg=listening")
	agent := start(t, w.command(nil, program, "attach", pairOfInject, address))
	agent.awaitOutput(t, "port ready")
	p := startPuppet(t, w).open(t, viaWindows, pairOfInject)
	coding := uart.Coding{Baud: 9600, DataBits: 5, Parity: uart.ParityNone, StopBits: uart.Stop1Half}
	set(t, p, uart.Event{Coding: coding})
	server.awaitOutput(t, `coding="9600 5N1.5"`)
	set(t, p, uart.Event{Coding: uart.DefaultCoding()})
	seen := 0
	for last := uart.ModemState(0); seen != evAll || last != uart.DSR; {
		events, modem, err := p.wait(evAll)
		if err != nil {
			t.Fatalf("the program waits for events: %v", err)
		}
		seen, last = seen|events, modem
		t.Logf("events %#x, lines %v", events, modem)
	}
	// The break's NUL is from the driver: the access server reports the break and sends no NUL.
	if err := expect(p, []byte("\x00from the device")); err != nil {
		t.Error(err)
	}
}
