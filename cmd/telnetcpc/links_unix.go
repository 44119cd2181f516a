//go:build linux || darwin || freebsd

package main

import "telnetcpc/ptyhost/devpath"

// becomeWatcher must be called early in main. In a process that was started as the watcher of another process's links
// it does not return.
func becomeWatcher() { devpath.Main() }

// stopWatcher ends this process's watcher, for a normal exit.
func stopWatcher() { devpath.Stop() }

// abandonLinks removes this process's links, for an immediate exit.
func abandonLinks() { devpath.Abandon() }
