package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"telnetcpc/wincom"
)

func TestPrintPairs(t *testing.T) {
	ours := wincom.Pair{
		Number: 0,
		A:      wincom.End{ID: "CNCA0", Name: "COM9", Parameters: []string{"dcd=rout1", "ri=!rout2"}},
		B:      wincom.End{ID: "CNCB0", Name: "CNCB0", Parameters: []string{"HiddenMode=yes", "dcd=ropen"}},
	}
	theirs := wincom.Pair{
		Number: 1,
		A:      wincom.End{ID: "CNCA1", Name: "COM20"},
		B:      wincom.End{ID: "CNCB1", Name: "CNCB1"},
		Absent: true,
	}
	for _, tt := range []struct {
		name  string
		pairs []wincom.Pair
		want  string
	}{
		{"none", nil, "no pair (telnetcpc pair add COM9)\n"},
		{"ours", []wincom.Pair{ours}, "COM9 (CNCA0: dcd=rout1, ri=!rout2) <-> CNCB0 (HiddenMode=yes, dcd=ropen)\n"},
		{"another's", []wincom.Pair{ours, theirs}, "COM9 (CNCA0: dcd=rout1, ri=!rout2) <-> CNCB0 (HiddenMode=yes, dcd=ropen)\n" +
			"COM20 (CNCA1) <-> CNCB1, not made by telnetcpc, not present now (telnetcpc doctor has the reason)\n"},
		{"a name with an escape in it", []wincom.Pair{{A: wincom.End{ID: "CNCA2", Name: "\x1b[2J"}, B: ours.B}},
			`\x1b[2J (CNCA2) <-> CNCB0 (HiddenMode=yes, dcd=ropen), not made by telnetcpc` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if err := printPairs(&out, tt.pairs); err != nil || out.String() != tt.want {
				t.Errorf("got %v\n%swant\n%s", err, out.String(), tt.want)
			}
		})
	}
	if err := printPairs(failing{}, nil); err == nil {
		t.Error("a failed write is not reported")
	}
}

func TestPrintRemoved(t *testing.T) {
	theirs := wincom.Pair{A: wincom.End{ID: "CNCA1", Name: "COM20"}, B: wincom.End{ID: "CNCB1", Name: "CNCB1"}}
	var out strings.Builder
	const want = "removed COM20 (CNCA1) <-> CNCB1 (it was not made by telnetcpc)\n"
	if err := printRemoved(&out, theirs); err != nil || out.String() != want {
		t.Errorf("got %v, %q, want %q", err, out.String(), want)
	}
}

func TestPairError(t *testing.T) {
	for _, tt := range []struct {
		what string
		err  error
		want string
	}{
		{"add", wincom.ErrNotInstalled, "pair add: com0com is not installed (its setup.exe is at https://sourceforge.net/projects/com0com)"},
		{"add", fmt.Errorf("setupc list: %w", fs.ErrPermission),
			`pair add: administrator rights are missing (in a command prompt opened by "Run as administrator": telnetcpc pair add COM9)`},
		{"remove", fs.ErrPermission,
			`pair remove: administrator rights are missing (in a command prompt opened by "Run as administrator": telnetcpc pair remove COM9)`},
		{"remove", fmt.Errorf("COM9: %w", wincom.ErrNoPair), "pair remove: COM9: no com0com pair has it (telnetcpc pair list)"},
		{"add", errors.New("setupc install: exit status 1"), "pair add: setupc install: exit status 1"},
	} {
		if got := pairError(tt.what, "COM9", tt.err); got == nil || got.Error() != tt.want {
			t.Errorf("%v: got %v, want %s", tt.err, got, tt.want)
		}
	}
	if err := pairError("add", "COM9", nil); err != nil {
		t.Errorf("of no error: got %v", err)
	}
}
