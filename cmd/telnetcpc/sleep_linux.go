package main

import (
	"telnetcpc/bridge"
	"telnetcpc/bridge/agent"
	"telnetcpc/ptyhost/logind"
)

// obeySleep ends the session of a bridge before the machine sleeps, and allows the next one after it has woken, until
// stop is called. It may be called for any number of bridges. Without logind it does nothing.
func obeySleep(b *bridge.Bridge) (stop func()) {
	s := agent.Sleeper{Bridge: b}
	logind.System().Add(s, logind.Early, nil)
	return func() { logind.System().Remove(s) }
}
