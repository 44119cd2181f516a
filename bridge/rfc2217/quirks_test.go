package rfc2217_test

import (
	"testing"

	"telnetcpc/bridge/rfc2217"
)

func TestQuirksParseWhatTheyPrint(t *testing.T) {
	all := rfc2217.AllQuirks()
	for set := range rfc2217.Quirks(1 << len(all)) {
		if got, err := rfc2217.ParseQuirks(set.Names()...); got != set || err != nil {
			t.Errorf("%v: parsed as %v, %v", set, got, err)
		}
	}
	for set, want := range map[rfc2217.Quirks]string{
		0:                                        "none",
		rfc2217.SingleFF | rfc2217.SuspendIgnore: "suspend-ignore, single-ff",
		0x81:                                     "suspend-ignore, 0x80",
	} {
		if got := set.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, name := range []string{"", "odd", "Single-FF", "none"} {
		if got, err := rfc2217.ParseQuirks("single-ff", name); err == nil {
			t.Errorf("%q is %v, want an error", name, got)
		}
	}
	_, err := rfc2217.ParseQuirks("odd")
	if want := `"odd": want suspend-ignore, single-ff or keep-greeting`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
