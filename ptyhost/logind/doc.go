// Package logind learns from systemd-logind, over D-Bus, that the machine is about to sleep and that it has woken, and
// delays the sleep until everything that must happen first is done:
//
//	logind  -- PrepareForSleep(true) -->  Sleep of the Early, then of the Late; the lock is released  -->  the machine sleeps
//	logind  -- PrepareForSleep(false) ->  the lock is taken again; Wake of all
//
// The lock is a delay inhibitor of org.freedesktop.login1(5). logind waits for it for InhibitDelayMaxSec, 5 s unless
// logind.conf(5) sets it. Without a bus or logind nothing happens, except that it is logged once if a Sleeper needs it.
// Both may start later, end and start again: the bus is dialed again, at least once a minute, and reports when logind
// is there.
//
// One connection, System, serves a whole process. Its callers are kerneltty, which unplugs ports, and the commands, which end
// sessions. The package knows no port and no device.
package logind
