package uart

import (
	"fmt"
	"strings"
)

// bitName names one bit of a set; tables of it are in the order in which they print.
type bitName struct {
	bit  uint8
	name string
}

// formatBits joins the names of the bits that are set with "|"; unknown bits print as one hex number, none as none.
func formatBits(v uint8, names []bitName, none string) string {
	if v == 0 {
		return none
	}
	var parts []string
	for _, n := range names {
		if v&n.bit != 0 {
			parts = append(parts, n.name)
			v &^= n.bit
		}
	}
	if v != 0 {
		parts = append(parts, fmt.Sprintf("%#x", v))
	}
	return strings.Join(parts, "|")
}

// parseBits is the inverse of formatBits.
func parseBits(s, what string, names []bitName, none string) (uint8, error) {
	if s == none {
		return 0, nil
	}
	var v uint8
next:
	for _, part := range strings.Split(s, "|") {
		for _, n := range names {
			if strings.EqualFold(part, n.name) {
				v |= n.bit
				continue next
			}
		}
		var hex uint8
		if _, err := fmt.Sscanf(part, "0x%x", &hex); err != nil {
			return 0, fmt.Errorf("%s %q: unknown name %q", what, s, part)
		}
		v |= hex
	}
	return v, nil
}
