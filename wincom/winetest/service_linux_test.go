package winetest

import (
	"context"
	"strings"
	"testing"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// TestService: attach as a Windows service, with a real ser2net. TestVerify kills a service, which a real Windows restarts.
// Wine cannot show that, nor the start at boot.
func TestService(t *testing.T) {
	w := needWine(t)
	t.Parallel()
	s := startSer2net(t)
	b := &bench{server: s, device: s.device}
	service := func(args ...string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), testenv.Patience)
		defer cancel()
		return w.run(ctx, append([]string{windowsPath(telnetcpc(t)), "service"}, args...)...)
	}
	prints := func(want string, args ...string) {
		t.Helper()
		out, err := service(args...)
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("telnetcpc service %s: %v\n%swant %s", strings.Join(args, " "), err, out, want)
		}
	}
	puppet := startPuppet(t, w)
	check := func(coding uart.Coding) {
		t.Helper()
		p := puppet.open(t, viaLibrary, pairOfService)
		set(t, p, uart.Event{Coding: coding})
		b.up(t, p, []byte("to the device"))
		if got := b.device.termios(t).Ospeed; got != coding.Baud {
			t.Errorf("the device has %d baud, want %v", got, coding)
		}
		b.down(t, p, []byte("from the device"))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	prints("telnetcpc-"+pairOfService+" is installed and runs", "install", "--linger", "50ms", pairOfService, s.address)
	prints("running", "status", pairOfService)
	check(uart.Coding{Baud: 19200, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1})

	prints("", "stop", pairOfService)
	prints("stopped", "status", pairOfService)
	prints("", "start", pairOfService)
	check(uart.Coding{Baud: 4800, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1})
	prints("uninstalled", "uninstall", pairOfService)

	// Only of this service: TestUnits has services too, at the same time.
	out, err := service("status", pairOfService)
	if want := "there is no service telnetcpc-" + pairOfService; err == nil || !strings.Contains(out, want) {
		t.Errorf("telnetcpc service status %s: %v\n%swant %s", pairOfService, err, out, want)
	}
}
