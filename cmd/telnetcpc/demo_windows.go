package main

import (
	"errors"

	"telnetcpc/wincom"
)

// demoPort returns the port of the demonstration: one end of an existing com0com pair, because only an administrator
// can make a pair.
func demoPort() (name string, remove func(), err error) {
	pairs, err := wincom.Pairs()
	if err != nil {
		return "", nil, err
	}
	for _, p := range pairs {
		if p.Ours() && !p.Absent {
			return p.A.Name, func() {}, nil
		}
	}
	return "", nil, errors.New("there is no pair of ports that telnetcpc has made (with com0com installed, and as administrator: telnetcpc pair add COM9; --port COM3 uses another pair's end)")
}
