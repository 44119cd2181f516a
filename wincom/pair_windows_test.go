package wincom_test

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"telnetcpc/wincom"
	"telnetcpc/wincom/wincomtest"
)

func init() { wincomtest.RunSetupc() }

// A pair is made, read from the registry and removed through a setupc.exe that is really run.
func TestSetupcIsRun(t *testing.T) {
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it writes com0com's parameters (TELNETCPC_C0SIM, which only wincom/winetest sets, says that it may)")
	}
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
		t.Errorf("a command that it does not know: got %v", err)
	}
	if _, err := s.Remove(t.Context(), "COM77"); err != nil {
		t.Error(err)
	}
	if there, err := wincom.PortExists("COM77"); there || err != nil {
		t.Errorf("COM77 exists still: got %v, %v", there, err)
	}
}
