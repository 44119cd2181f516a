// Package logind hears from systemd-logind, by D-Bus, that the machine goes to sleep and that it has woken, and holds the
// sleep up until what must come before it is done:
//
//	logind  -- PrepareForSleep(true) -->  Sleep of everyone, then the lock is let go  -->  the machine sleeps
//	logind  -- PrepareForSleep(false) ->  the lock is taken again, Wake of everyone
//
// The lock is a delay inhibitor of org.freedesktop.login1(5); logind waits for it for InhibitDelayMaxSec, 5 s unless
// logind.conf(5) says otherwise. Where there is no bus or no logind nothing happens, and it is said once.
//
// It knows no port and no device.
package logind
