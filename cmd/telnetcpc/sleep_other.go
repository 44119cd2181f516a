//go:build !linux

package main

import "telnetcpc/bridge"

// obeySleep does nothing: on Windows the service manager tells a service, and other systems tell nobody.
func obeySleep(*bridge.Bridge) (stop func()) { return func() {} }
