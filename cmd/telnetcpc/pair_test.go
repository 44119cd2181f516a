package main

import (
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
			"COM20 (CNCA1) <-> CNCB1, not made by telnetcpc, not there now (telnetcpc doctor says why)\n"},
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
		t.Error("what could not be written was not told")
	}
}
