package wincom_test

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"

	"telnetcpc/wincom"
	"telnetcpc/wincom/wincomtest"
)

func init() { wincomtest.RunSetupc() }

// If the Ports class chose a port's name, the parameters have only COM#.
func TestPairInPortsClass(t *testing.T) {
	needRegistry(t)
	set := func(key, name, value string) {
		t.Helper()
		k, existed, err := registry.CreateKey(registry.LOCAL_MACHINE, key, registry.ALL_ACCESS)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.SetStringValue(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := k.DeleteValue(name)
			if !existed {
				err = errors.Join(err, registry.DeleteKey(k, ""))
			}
			if err := errors.Join(err, k.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	const parameters = `SYSTEM\CurrentControlSet\Services\com0com\Parameters\`
	set(parameters+"CNCA5", "PortName", "COM#")
	set(parameters+"CNCB5", "PortName", "CNCB5")
	set(`HARDWARE\DEVICEMAP\SERIALCOMM`, `\Device\com0com15`, "COM55")
	pairs, err := wincom.Pairs()
	if err != nil {
		t.Fatal(err)
	}
	p, ok := wincom.FindPair(pairs, "COM55")
	if !ok || p.Number != 5 || p.B.Name != "CNCB5" {
		t.Errorf("got %+v, want the pair of COM55 among them", pairs)
	}
}

// A pair without parameters has com0com's own names.
func TestPairOfDefaults(t *testing.T) {
	needRegistry(t)
	for _, id := range []string{"CNCA5", "CNCB5"} {
		k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Services\com0com\Parameters\`+id, registry.ALL_ACCESS)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(registry.DeleteKey(k, ""), k.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	pairs, err := wincom.Pairs()
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := wincom.FindPair(pairs, "CNCA5"); !ok || p.B.Name != "CNCB5" {
		t.Errorf("got %+v, want the pair of CNCA5 among them", pairs)
	}
}

// needRegistry skips the test unless it may write com0com's parameters.
func needRegistry(t *testing.T) {
	t.Helper()
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it writes com0com's parameters, so it runs only if TELNETCPC_C0SIM is set, as wincom/winetest does")
	}
}

// A pair is made, read from the registry and removed by running a setupc.exe.
func TestSetupcIsRun(t *testing.T) {
	needRegistry(t)
	if _, err := wincom.FindSetupc(); !errors.Is(err, wincom.ErrNotInstalled) {
		t.Fatalf("without com0com: got %v, want %v", err, wincom.ErrNotInstalled)
	}
	wincomtest.InstallSetupc(t)
	s, err := wincom.FindSetupc()
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.Add(t.Context(), "COM77")
	if err != nil {
		t.Fatal(err)
	}
	number := strconv.Itoa(made.Number)
	if !made.Ours() || made.A.Name != "COM77" || made.B.Name != "CNCB"+number {
		t.Errorf("made %+v", made)
	}
	pairs, err := wincom.Pairs()
	i := slices.IndexFunc(pairs, func(p wincom.Pair) bool { return p.A.Name == "COM77" })
	if err != nil || i < 0 || !pairs[i].Ours() || !pairs[i].Absent { // the stand-in makes no device
		t.Errorf("the registry has %+v, %v", pairs, err)
	}
	if there, err := wincom.PortExists("COM77"); !there || err != nil {
		t.Errorf("COM77 exists: got %v, %v", there, err)
	}
	if _, err := s.Add(t.Context(), wincomtest.TakenName); !errors.Is(err, wincom.ErrNameTaken) {
		t.Errorf("a name that is taken: got %v", err)
	}
	if _, err := s.Run(t.Context(), "dance"); err == nil || !strings.Contains(err.Error(), `exit status 1: "invalid command [\"dance\"]"`) {
		t.Errorf("an unknown command: got %v", err)
	}
	if _, err := s.Remove(t.Context(), "COM77"); err != nil {
		t.Error(err)
	}
	if there, err := wincom.PortExists("COM77"); there || err != nil {
		t.Errorf("COM77 still exists: got %v, %v", there, err)
	}
}
