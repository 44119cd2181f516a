//go:build linux || darwin || freebsd

package main

import "telnetcpc/ptyhost/devpath"

// becomeWatcher must be called early in main: this process may be the watcher that removes another process's links.
func becomeWatcher() { devpath.Main() }

// stopWatcher ends this process's watcher; this process is ending in order.
func stopWatcher() { devpath.Stop() }

// abandonLinks removes this process's links; this process is ending at once.
func abandonLinks() { devpath.Abandon() }
