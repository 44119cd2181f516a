//go:build !linux

package main

import "telnetcpc/bridge"

// obeySleep does nothing: on Windows the service manager notifies a service; the other systems are not supported.
func obeySleep(*bridge.Bridge) (stop func()) { return func() {} }
