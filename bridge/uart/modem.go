package uart

// ModemState is the set of lines that the device drives and that are on, in the bits of RFC 2217's NOTIFY-MODEMSTATE
// (the upper four; the lower four are deltas, which are never part of this type).
type ModemState uint8

const (
	CTS ModemState = 16
	DSR ModemState = 32
	RI  ModemState = 64
	DCD ModemState = 128
)

var modemNames = []bitName{{uint8(CTS), "CTS"}, {uint8(DSR), "DSR"}, {uint8(DCD), "DCD"}, {uint8(RI), "RI"}}

// String names the lines that are on: "CTS|DSR"; "none" for no line.
func (m ModemState) String() string { return formatBits(uint8(m), modemNames, "none") }

// ParseModemState parses the result of String.
func ParseModemState(s string) (ModemState, error) {
	v, err := parseBits(s, "modem state", modemNames, "none")
	return ModemState(v), err
}
