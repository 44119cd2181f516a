package wincom

import "strings"

// The NT devices of a pair's two ends: one of these prefixes and the pair's number.
const (
	deviceA = `\Device\com0com1`
	deviceB = `\Device\com0com2`
)

// peerOf returns the device of the other end, and com0com's names for the two ends. ok is false if the device is not one of
// com0com's.
func peerOf(device string) (peer, id, peerID string, ok bool) {
	a, b := "CNCA", "CNCB"
	number, isA := cutPrefixFold(device, deviceA)
	if !isA {
		if number, ok = cutPrefixFold(device, deviceB); !ok {
			return "", "", "", false
		}
		return deviceA + number, b + number, a + number, true
	}
	return deviceB + number, a + number, b + number, true
}

// cutPrefixFold is strings.CutPrefix without regard to case.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// endsOf returns what the driver's parameters say about a pair.
func endsOf(application, agent End) (Ends, error) {
	e := Ends{
		Application: application.Name, ApplicationID: application.ID, Agent: agent.Name, AgentID: agent.ID,
		EmuBR: agent.has([]string{"EmuBR=yes"}), EmuOverrun: agent.has([]string{"EmuOverrun=yes"}),
	}
	var err error
	if e.ApplicationPins, err = PinsOf(application.Parameters); err != nil {
		return Ends{}, err
	}
	e.AgentPins, err = PinsOf(agent.Parameters)
	return e, err
}
