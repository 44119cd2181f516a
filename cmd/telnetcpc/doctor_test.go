package main

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// patient is a fake host with a name and notes of its own.
type patient struct {
	uarttest.Host
	name  string
	notes []string
}

func (h *patient) Name() string    { return h.name }
func (h *patient) Notes() []string { return h.notes }

func ill(name, reason string) *patient {
	return &patient{Host: uarttest.Host{Broken: errors.New(name + ": " + reason)}, name: name}
}

func well(name string, lacks uart.Fidelity, notes ...string) *patient {
	return &patient{Host: uarttest.Host{Lacks: lacks}, name: name, notes: notes}
}

func TestDoctor(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hosts []uart.Host
		want  string
		fails bool
	}{
		{"all work", []uart.Host{well("kernel", uart.CarriesSixBits, "it snores"), well("pty", uart.CarriesDrain|uart.CarriesModem)}, `kernel: works
    carries  bytes, open and close, ALL BUT 6 data bits
    lacks    6 data bits
    note     it snores
pty: works
    carries  bytes, open and close, ALL BUT drain, modem state
    lacks    drain, modem state
--host auto takes kernel
`, false},
		{"the best does not", []uart.Host{ill("kernel", "needs a moon (wait)"), well("pty", 0)}, `kernel: needs a moon (wait)
    carries  bytes, open and close, ALL
pty: works
    carries  bytes, open and close, ALL
--host auto takes pty
`, false},
		{"none", nil, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := spellOut(tt.want)
			var out strings.Builder
			err := doctor(&out, tt.hosts, false)
			if out.String() != want {
				t.Errorf("got:\n%swant:\n%s", out.String(), want)
			}
			if (err != nil) != tt.fails || err != nil && status(err) != exitFailed {
				t.Errorf("got %v, want an error: %v", err, tt.fails)
			}
		})
	}
}

// spellOut replaces ALL and ALL BUT in a test's text by the names of the features.
func spellOut(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		head, but, found := strings.Cut(line, "ALL")
		if !found {
			continue
		}
		without := strings.Split(strings.TrimPrefix(but, " BUT "), ", ")
		all := slices.DeleteFunc(names(uart.FullFidelity), func(name string) bool { return slices.Contains(without, name) })
		lines[i] = head + strings.Join(all, ", ")
	}
	return strings.Join(lines, "\n")
}

func TestDoctorJSON(t *testing.T) {
	var out strings.Builder
	if err := doctor(&out, []uart.Host{ill("kernel", "no"), well("pty", uart.CarriesDrain, "slow")}, true); err != nil {
		t.Fatal(err)
	}
	var d diagnosis
	if err := json.Unmarshal([]byte(out.String()), &d); err != nil {
		t.Fatal(err)
	}
	if d.Auto != "pty" || len(d.Hosts) != 2 || d.Hosts[0].Works || d.Hosts[0].Reason != "kernel: no" ||
		!d.Hosts[1].Works || len(d.Hosts[1].Missing) != 1 || len(d.Hosts[1].Notes) != 1 {
		t.Errorf("got %+v", d)
	}
	if strings.Contains(out.String(), "null") {
		t.Errorf("an empty list must be a list: %s", out.String())
	}
}

func TestDoctorCannotPrint(t *testing.T) {
	if err := doctor(failing{}, []uart.Host{well("pty", 0)}, false); err == nil {
		t.Error("a failed write is not reported")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// auto takes the most faithful host that works, and returns why each better one does not.
func TestChooseHost(t *testing.T) {
	kernel, pty, broken := well("kernel", 0), well("pty", 0), ill("kernel", "no moon (wait)")
	for _, tt := range []struct {
		list    []uart.Host
		name    string
		want    string // the host, or a part of the error
		because int    // how many were passed over
	}{
		{[]uart.Host{kernel, pty}, "auto", "kernel", 0},
		{[]uart.Host{broken, pty}, "auto", "pty", 1},
		{[]uart.Host{broken, pty}, "kernel", "kernel", 0}, // Open reports what is wrong with it
		{[]uart.Host{kernel, pty}, "com0com", `--host "com0com": want auto, kernel, pty`, 0},
		{[]uart.Host{broken, ill("pty", "none left (end some)")}, "auto", "pty: none left (end some)", 0},
		{nil, "auto", "no port host for this system yet", 0},
	} {
		got, passedOver, err := chooseHost(tt.list, tt.name)
		switch {
		case err != nil && err.Error() != tt.want, err == nil && got.Name() != tt.want, len(passedOver) != tt.because:
			t.Errorf("%s: got %v, %v, %v, want %s", tt.name, got, passedOver, err, tt.want)
		}
	}
}
