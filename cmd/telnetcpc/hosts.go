package main

import (
	"fmt"
	"strings"

	"telnetcpc/bridge/uart"
)

// chooseHost returns the named port host, or for auto the most faithful one that works here.
func chooseHost(name string) (uart.Host, error) {
	list := hosts()
	names := []string{"auto"}
	var reason error
	for _, h := range list {
		names = append(names, h.Name())
		switch name {
		case h.Name():
			return h, nil
		case "auto":
			if reason = h.Check(); reason == nil {
				return h, nil
			}
		}
	}
	if name == "auto" {
		if reason == nil {
			reason = fmt.Errorf("no port host for this system yet")
		}
		return nil, reason
	}
	return nil, fmt.Errorf("--host %q: want %s", name, strings.Join(names, ", "))
}
