package main

import (
	"errors"
	"fmt"
	"strings"

	"telnetcpc/bridge/uart"
)

// chooseHost returns the named port host, or for auto the first one that works here, which has the highest fidelity.
// passedOver has, for each better one, the reason why it does not work, with the remedy.
func chooseHost(list []uart.Host, name string) (host uart.Host, passedOver []error, err error) {
	names := []string{"auto"}
	for _, h := range list {
		names = append(names, h.Name())
		switch name {
		case h.Name():
			return h, nil, nil
		case "auto":
			reason := h.Check()
			if reason == nil {
				return h, passedOver, nil
			}
			passedOver = append(passedOver, reason)
		}
	}
	switch {
	case name != "auto":
		return nil, nil, fmt.Errorf("--host %q: want %s", name, strings.Join(names, ", "))
	case len(list) == 0:
		return nil, nil, errors.New("no port host for this system yet")
	}
	return nil, nil, passedOver[len(passedOver)-1] // the reason of the host with the fewest requirements
}
