// Package escape makes text from the network safe for a terminal and a log: control characters become escape sequences,
// so that a remote cannot move the cursor, change colours or forge a line. Every command prints through it. It knows
// nothing of what the text means.
package escape

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// QuoteLimit is how many bytes Quote shows at most.
const QuoteLimit = 256

// Line returns s on one line: line breaks, control characters and invalid UTF-8 are escaped as in a Go string.
func Line(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Quote returns p as a quoted Go string in ASCII; after QuoteLimit bytes it is cut, and "..." follows the quote.
func Quote(p []byte) string {
	if len(p) > QuoteLimit {
		return strconv.QuoteToASCII(string(p[:QuoteLimit])) + "..."
	}
	return strconv.QuoteToASCII(string(p))
}
