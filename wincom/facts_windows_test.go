package wincom

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// needStandIn skips the test unless the pair belongs to the stand-in driver.
func needStandIn(t *testing.T) {
	t.Helper()
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it needs the stand-in for com0com's driver (TELNETCPC_C0SIM, which only wincom/winetest sets)")
	}
}

// The facts on a Windows with a running driver and a pair.
func TestFacts(t *testing.T) {
	needStandIn(t)
	if d := readDriver(); d.service != serviceRunning || len(d.problems) > 0 {
		t.Errorf("the driver: got %+v, want it running without a problem", d)
	}
	if err := checkDriver(); err != nil {
		t.Errorf("checkDriver: got %v", err)
	}
	if k := readKernel(); k.build == 0 || k.secureBoot || k.testSigning {
		t.Errorf("Windows: got %+v, want a build, no Secure Boot, no test signing", k)
	}
	if state, file := readService("no-such-driver"); state != serviceMissing || file != "" {
		t.Errorf("a missing driver: got %s, %s", state, file)
	}
	facts, err := readPairs()
	i := slices.IndexFunc(facts, func(f pairFacts) bool { return f.pair.A.Name == "COM9" })
	if err != nil || i < 0 {
		t.Fatalf("pairs: got %+v, %v, want COM9 among them", facts, err)
	}
	if f := facts[i]; !f.pair.Ours() || f.pair.Absent || f.pair.B.Name != "CNCB0" || !f.inDeviceMap || f.holderA != "" {
		t.Errorf("got %+v, want our pair with COM9, in the device map, not open", f)
	}
}

// The program that has a port open is found without opening the port.
func TestHolders(t *testing.T) {
	needStandIn(t)
	device := deviceOf("COM9")
	if device == "" {
		t.Fatal("there is no COM9")
	}
	if got := holdersOf([]string{device})[device]; got != "" {
		t.Fatalf("it is already open in %s", got)
	}
	name, err := windows.UTF16PtrFromString(`\\.\COM9`)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(h)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s, pid %d", filepath.Base(exe), os.Getpid())
	if got := holdersOf([]string{"", device})[device]; !strings.EqualFold(got, want) {
		t.Errorf("it is open in %q, want %q", got, want)
	}
	if got := holdersOf(nil); len(got) != 0 {
		t.Errorf("no devices: got %v", got)
	}
}

// Version and signer of a driver's file.
func TestDriverFile(t *testing.T) {
	for _, tt := range []struct{ name, version, signer string }{
		{"signed.sys", "2.2.2.0", "Nobody Whom You Know"},
		{"unsigned.sys", "2.2.2.0", ""},
		{"README.md", "", ""},
		{"missing.sys", "", ""},
	} {
		file := filepath.Join("testdata", tt.name)
		if version, signer := fileVersion(file), fileSigner(file); version != tt.version || signer != tt.signer {
			t.Errorf("%s: got version %q, signer %q, want %q, %q", tt.name, version, signer, tt.version, tt.signer)
		}
	}
}
