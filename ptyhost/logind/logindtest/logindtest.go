// Package logindtest emulates the part of systemd-logind that package logind uses, on a real bus: the signal
// PrepareForSleep and the method Inhibit of org.freedesktop.login1(5). It never puts the machine to sleep, and a delay
// ends only when its lock is released: there is no InhibitDelayMaxSec. It is for the tests of logind and kerneltty.
package logindtest
