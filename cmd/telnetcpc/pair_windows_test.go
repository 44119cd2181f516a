package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"telnetcpc/wincom/wincomtest"
)

func init() { wincomtest.RunSetupc() }

// telnetcpc runs a command in this process and returns what it prints.
func telnetcpc(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	app := newApp()
	app.Writer = &out
	err := app.RunContext(t.Context(), append([]string{"telnetcpc"}, args...))
	return out.String(), err
}

// The pair commands, and the pair that attach makes itself. The stand-in for setupc.exe makes no device, so attach ends
// there: the port that it would open does not exist.
func TestPairCommands(t *testing.T) {
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it writes com0com's parameters (TELNETCPC_C0SIM, which only wincom/winetest sets, says that it may)")
	}
	const row = `COM77 \(CNCA\d+: dcd=rout1, ri=!rout2\) <-> CNCB\d+ `
	fails := func(want string, wantStatus int, args ...string) {
		t.Helper()
		out, err := telnetcpc(t, args...)
		if err == nil || !strings.HasPrefix(err.Error(), want) || status(err) != wantStatus || out != "" {
			t.Errorf("%v: got %v and %q, want %s and status %d", args, err, out, want, wantStatus)
		}
	}
	prints := func(want string, args ...string) {
		t.Helper()
		if out, err := telnetcpc(t, args...); err != nil || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%v: got %v and\n%swant\n%s", args, err, out, want)
		}
	}
	fails("pair add: com0com is not installed", exitFailed, "pair", "add", "COM77")
	fails("port COM77 does not exist yet: pair add: com0com is not installed", exitPort, "attach", "COM77", "127.0.0.1:1")
	wincomtest.InstallSetupc(t)
	prints(`(?m)^COM9 \(CNCA0: dcd=rout1, ri=!rout2\) <-> CNCB0 \(dcd=ropen, HiddenMode=yes\)$`, "pair", "list")
	fails("pair remove: COM77: no com0com pair has it (telnetcpc pair list)", exitFailed, "pair", "remove", "COM77")
	fails("pair add: the name is taken: another device", exitFailed, "pair", "add", wincomtest.TakenName)
	prints(row, "pair", "add", "com77")
	prints(row, "pair", "list")
	fails("pair add: the name is taken: COM77 is an end of com0com pair", exitFailed, "pair", "add", "COM77")
	prints("removed "+row, "pair", "remove", `\\.\COM77`)
	fails("port COM77: ", exitPort, "attach", "COM77", "127.0.0.1:1")
	prints(row, "pair", "list")
	prints("removed "+row, "pair", "remove", "COM77")
	fails(`pair add: port "COM0": want COM1 to COM4096`, exitUsage, "pair", "add", "COM0")
	fails("pair add: got 0 arguments, want PORT (telnetcpc pair add --help)", exitUsage, "pair", "add")
	fails("pair list: got 1 arguments, want no argument", exitUsage, "pair", "list", "COM9")
}
