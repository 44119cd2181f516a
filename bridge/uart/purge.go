package uart

// Purge has the values of RFC 2217's PURGE-DATA, from the application's point of view: rx is what it has not read, tx
// what it has written and the UART has not sent.
type Purge uint8

const (
	PurgeRx   Purge = 1
	PurgeTx   Purge = 2
	PurgeBoth Purge = 3
)

var purgeNames = []bitName{{uint8(PurgeRx), "rx"}, {uint8(PurgeTx), "tx"}}

// String returns "rx", "tx" or "rx|tx"; "none" for the zero value.
func (p Purge) String() string { return formatBits(uint8(p), purgeNames, "none") }

// ParsePurge parses the result of String.
func ParsePurge(s string) (Purge, error) {
	v, err := parseBits(s, "purge", purgeNames, "none")
	return Purge(v), err
}
