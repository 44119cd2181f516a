package wincom

import (
	"strings"
	"testing"
)

func TestPeerOf(t *testing.T) {
	for _, tt := range []struct {
		device, peer, id, peerID string
		ok                       bool
	}{
		{`\Device\com0com10`, `\Device\com0com20`, "CNCA0", "CNCB0", true},
		{`\Device\com0com20`, `\Device\com0com10`, "CNCB0", "CNCA0", true},
		{`\device\COM0COM217`, `\Device\com0com117`, "CNCB17", "CNCA17", true},
		{`\Device\Serial0`, "", "", "", false},
		{`\Device\com0com`, "", "", "", false},
		{`\Device\com0com3`, "", "", "", false},
		{``, "", "", "", false},
	} {
		peer, id, peerID, ok := peerOf(tt.device)
		if peer != tt.peer || id != tt.id || peerID != tt.peerID || ok != tt.ok {
			t.Errorf("%s: got %s, %s, %s, %v", tt.device, peer, id, peerID, ok)
		}
	}
}

// Ends from the parameters of a pair, whichever end the application opens.
func TestEndsOf(t *testing.T) {
	pairs := ParsePairs("       CNCA0 PortName=COM9,dcd=rout1,ri=!rout2\r\n       CNCB0 PortName=CNCB0,dcd=ropen,HiddenMode=yes,EmuBR=yes,EmuOverrun=yes\r\n")
	if len(pairs) != 1 {
		t.Fatalf("pairs: got %v", pairs)
	}
	e, err := endsOf(pairs[0].A, pairs[0].B)
	want := Ends{
		Application: "COM9", ApplicationID: "CNCA0", ApplicationPins: ApplicationPins(),
		Agent: "CNCB0", AgentID: "CNCB0", AgentPins: AgentPins(), EmuBR: true, EmuOverrun: true,
	}
	if err != nil || e != want {
		t.Errorf("got %+v, %v, want %+v", e, err, want)
	}
	e, err = endsOf(pairs[0].B, pairs[0].A)
	if err != nil || e.Application != "CNCB0" || e.Agent != "COM9" || e.AgentPins != ApplicationPins() || e.EmuBR || e.EmuOverrun {
		t.Errorf("the other end: got %+v, %v", e, err)
	}
	pairs[0].B.Parameters = []string{"dcd=rxd"}
	if _, err := endsOf(pairs[0].A, pairs[0].B); err == nil || !strings.Contains(err.Error(), "dcd=rxd") {
		t.Errorf("invalid pins: got %v", err)
	}
}
