package agent

import (
	"time"

	"telnetcpc/bridge"
)

const (
	// goodbyeTimeout bounds how long the end of a session may delay the machine's sleep. logind waits 5 s for this process,
	// and a kernel tty must still be unplugged after the session.
	goodbyeTimeout = 2 * time.Second
	// goodbyePoll is how often Sleep checks whether the session has ended: nothing announces it.
	goodbyePoll = 5 * time.Millisecond
)

// Sleeper is a bridge whose Sleep returns only when its session has ended.
type Sleeper struct{ *bridge.Bridge }

// Sleep ends the session before the machine sleeps, and returns once the session has ended, after 2 s at most: otherwise
// the access server would reserve the device for a session that is dead when the machine wakes.
func (s Sleeper) Sleep() {
	s.Bridge.Sleep()
	for began := time.Now(); s.hasSession() && time.Since(began) < goodbyeTimeout; {
		time.Sleep(goodbyePoll)
	}
}

// hasSession reports whether there is a session, or one is being dialed.
func (s Sleeper) hasSession() bool {
	switch s.Status().Link {
	case bridge.LinkUp, bridge.LinkClosing, bridge.LinkConnecting:
		return true
	}
	return false
}
