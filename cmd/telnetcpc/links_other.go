//go:build !linux && !darwin && !freebsd

package main

// becomeWatcher has nothing to do: here ports are no links.
func becomeWatcher() {}

// stopWatcher has nothing to do.
func stopWatcher() {}

// abandonLinks has nothing to do.
func abandonLinks() {}
