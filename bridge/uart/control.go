package uart

import (
	"fmt"
	"strings"
)

// Level is the state of a line that the application drives.
type Level uint8

const (
	LevelOff Level = 1
	LevelOn  Level = 2
)

// LevelOf returns LevelOn for true and LevelOff for false.
func LevelOf(on bool) Level {
	if on {
		return LevelOn
	}
	return LevelOff
}

// String returns "on", "off", or "" for an unset level; others print as a hex number.
func (l Level) String() string {
	switch l {
	case 0:
		return ""
	case LevelOff:
		return "off"
	case LevelOn:
		return "on"
	}
	return fmt.Sprintf("%#x", uint8(l))
}

// Control is what the application drives: DTR, RTS and break. A zero field is unset.
type Control struct {
	DTR, RTS, Break Level
}

// String lists what is set: "DTR on RTS off"; "" for the zero value.
func (c Control) String() string {
	var parts []string
	for _, line := range []struct {
		name  string
		level Level
	}{{"DTR", c.DTR}, {"RTS", c.RTS}, {"break", c.Break}} {
		if line.level != 0 {
			parts = append(parts, line.name+" "+line.level.String())
		}
	}
	return strings.Join(parts, " ")
}

// ParseControl parses the result of String.
func ParseControl(s string) (Control, error) {
	bad := fmt.Errorf("control lines %q: want words like \"DTR on RTS off break on\"", s)
	var c Control
	fields := strings.Fields(s)
	if len(fields)%2 != 0 {
		return c, bad
	}
	for i := 0; i < len(fields); i += 2 {
		var level Level
		switch fields[i+1] {
		case "on":
			level = LevelOn
		case "off":
			level = LevelOff
		default:
			return Control{}, bad
		}
		switch strings.ToLower(fields[i]) {
		case "dtr":
			c.DTR = level
		case "rts":
			c.RTS = level
		case "break":
			c.Break = level
		default:
			return Control{}, bad
		}
	}
	return c, nil
}

// Over returns base overridden by the fields that c sets.
func (c Control) Over(base Control) Control {
	if c.DTR == 0 {
		c.DTR = base.DTR
	}
	if c.RTS == 0 {
		c.RTS = base.RTS
	}
	if c.Break == 0 {
		c.Break = base.Break
	}
	return c
}
