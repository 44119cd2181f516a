// Package logindtest stands for the part of systemd-logind that package logind talks to, on a real bus: the signal
// PrepareForSleep and the method Inhibit of org.freedesktop.login1(5). It sends the machine nowhere, and nothing ends a
// delay but the one who holds it up.
package logindtest
