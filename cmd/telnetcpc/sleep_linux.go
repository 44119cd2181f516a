package main

import (
	"time"

	"telnetcpc/bridge"
	"telnetcpc/ptyhost/logind"
)

// sleepMost is how long the end of a session may hold the machine's sleep up. logind waits 5 s for all of this process,
// and a kernel tty is unplugged after it.
const sleepMost = 2 * time.Second

// sleepLook is how often is looked whether a session has ended: nothing announces it.
const sleepLook = 5 * time.Millisecond

// obeySleep ends the session of a bridge before the machine sleeps, and lets the next one be made when it has woken, until
// the returned function is called. Any number of bridges may do so. Where there is no logind nothing happens.
func obeySleep(b *bridge.Bridge) (stop func()) {
	s := sleeping{b}
	logind.System().Add(s, logind.Early, nil)
	return func() { logind.System().Remove(s) }
}

// sleeping is a bridge as logind tells it of sleep.
type sleeping struct{ *bridge.Bridge }

// Sleep implements logind.Sleeper: it returns when the access server has been told, for it would keep the device for a
// session that is dead when the machine wakes.
func (s sleeping) Sleep() {
	s.Bridge.Sleep()
	for began := time.Now(); s.dials() && time.Since(began) < sleepMost; {
		time.Sleep(sleepLook)
	}
}

// dials reports whether there is a session, or the way to one.
func (s sleeping) dials() bool {
	switch s.Status().Link {
	case bridge.LinkUp, bridge.LinkClosing, bridge.LinkConnecting:
		return true
	}
	return false
}
