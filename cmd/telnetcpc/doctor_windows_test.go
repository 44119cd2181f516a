package main

import (
	"os"
	"strings"
	"testing"
)

// doctor on a Windows whose driver runs and has a pair. Its text for every other state is tested in wincom.
func TestDoctorHere(t *testing.T) {
	if os.Getenv("TELNETCPC_C0SIM") == "" {
		t.Skip("it needs the stand-in for com0com's driver (TELNETCPC_C0SIM, which only wincom/winetest sets)")
	}
	out, err := telnetcpc(t, "doctor")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"com0com: works\n    carries  bytes, open and close, baud, data bits, ",
		"    note     driver, running, ",
		"    note     setupc.exe was not found: ",
		"    note     COM9 <-> CNCB0: COM9 is in the device map SERIALCOMM, not in ",
		"--host auto takes com0com\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%swant %q in it", out, want)
		}
	}
}
