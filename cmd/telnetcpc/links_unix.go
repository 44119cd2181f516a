//go:build linux || darwin || freebsd

package main

import "telnetcpc/ptyhost/devpath"

// becomeWatcher must come early in main: this process may be the watcher that removes the links of another one.
func becomeWatcher() { devpath.Main() }

// stopWatcher ends the watcher of this process, which ends in order.
func stopWatcher() { devpath.Stop() }

// abandonLinks removes the links of this process, which ends at once.
func abandonLinks() { devpath.Abandon() }
