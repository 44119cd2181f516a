package uart

// LineState is the state and the errors that a UART reports for its line, in the bits of RFC 2217's NOTIFY-LINESTATE.
type LineState uint8

const (
	LineDataReady LineState = 1
	LineOverrun   LineState = 2
	LineParity    LineState = 4
	LineFraming   LineState = 8
	LineBreak     LineState = 16
	LineTHRE      LineState = 32  // transmit holding register empty
	LineTEMT      LineState = 64  // transmit shift register empty: the last bit has left
	LineTimeout   LineState = 128 // RFC 2217: timeout error
)

// LineErrors are the bits that concern received data.
const LineErrors = LineOverrun | LineParity | LineFraming | LineBreak

var lineNames = []bitName{
	{uint8(LineBreak), "break"}, {uint8(LineParity), "parity"}, {uint8(LineFraming), "framing"},
	{uint8(LineOverrun), "overrun"}, {uint8(LineTEMT), "TEMT"}, {uint8(LineTHRE), "THRE"},
	{uint8(LineDataReady), "data-ready"}, {uint8(LineTimeout), "timeout"},
}

// String names the bits that are set: "break|framing"; "none" for none.
func (l LineState) String() string { return formatBits(uint8(l), lineNames, "none") }

// ParseLineState parses the result of String.
func ParseLineState(s string) (LineState, error) {
	v, err := parseBits(s, "line state", lineNames, "none")
	return LineState(v), err
}
