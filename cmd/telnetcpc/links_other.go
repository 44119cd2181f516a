//go:build !linux && !darwin && !freebsd

package main

// becomeWatcher does nothing: on this system ports are not links.
func becomeWatcher() {}

// stopWatcher does nothing.
func stopWatcher() {}

// abandonLinks does nothing.
func abandonLinks() {}
