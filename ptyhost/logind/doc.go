// Package logind hears from systemd-logind, by D-Bus, that the machine goes to sleep and that it has woken, and holds the
// sleep up until what must come before it is done:
//
//	logind  -- PrepareForSleep(true) -->  Sleep of the early ones, then of the late ones; the lock is let go  -->  the machine sleeps
//	logind  -- PrepareForSleep(false) ->  the lock is taken again, Wake of everyone
//
// The lock is a delay inhibitor of org.freedesktop.login1(5); logind waits for it for InhibitDelayMaxSec, 5 s unless
// logind.conf(5) says otherwise. Where there is no bus or no logind nothing happens, and it is said once to whom it matters.
// Either may come later, end and start again: the bus is tried again, at most once a minute, and tells when logind is there.
// One connection, System, serves a whole process: the ports that are unplugged and the bridges whose sessions end.
//
// It knows no port and no device.
package logind
