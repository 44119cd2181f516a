package telnet

import "fmt"

// Command is the byte after an IAC (RFC 854, "TELNET COMMAND STRUCTURE").
type Command byte

// The commands of RFC 854.
const (
	SE   Command = 240 // end of subnegotiation
	NOP  Command = 241 // no operation
	DM   Command = 242 // data mark
	BRK  Command = 243 // break
	IP   Command = 244 // interrupt process
	AO   Command = 245 // abort output
	AYT  Command = 246 // are you there
	EC   Command = 247 // erase character
	EL   Command = 248 // erase line
	GA   Command = 249 // go ahead
	SB   Command = 250 // subnegotiation begins
	WILL Command = 251
	WONT Command = 252
	DO   Command = 253
	DONT Command = 254
	IAC  Command = 255 // begins a command; doubled, it is a data byte 255
)

var commandNames = [...]string{
	"SE", "NOP", "DM", "BRK", "IP", "AO", "AYT", "EC", "EL", "GA", "SB", "WILL", "WONT", "DO", "DONT", "IAC",
}

// String returns the RFC's name, or the number in hex.
func (c Command) String() string {
	if c >= SE {
		return commandNames[c-SE]
	}
	return fmt.Sprintf("%#02x", byte(c))
}

// Verb reports whether the command is WILL, WONT, DO or DONT, which an option follows.
func (c Command) Verb() bool { return c >= WILL && c <= DONT }

// Option is a Telnet option (IANA, "Telnet Options").
type Option byte

// The options that access servers negotiate.
const (
	Binary     Option = 0  // TRANSMIT-BINARY, RFC 856
	Echo       Option = 1  // ECHO, RFC 857
	SGA        Option = 3  // SUPPRESS-GO-AHEAD, RFC 858
	Status     Option = 5  // STATUS, RFC 859
	TimingMark Option = 6  // TIMING-MARK, RFC 860: a request and its answer, not a state that is on or off
	Terminal   Option = 24 // TERMINAL-TYPE, RFC 1091
	WindowSize Option = 31 // NAWS, RFC 1073
	LineMode   Option = 34 // LINEMODE, RFC 1184
	ComPort    Option = 44 // COM-PORT-OPTION, RFC 2217
)

var optionNames = map[Option]string{
	Binary: "BINARY", Echo: "ECHO", SGA: "SGA", Status: "STATUS", TimingMark: "TIMING-MARK", Terminal: "TERMINAL-TYPE",
	WindowSize: "NAWS", LineMode: "LINEMODE", ComPort: "COM-PORT",
}

// String returns the option's name, or its number.
func (o Option) String() string {
	if name, ok := optionNames[o]; ok {
		return name
	}
	return fmt.Sprintf("option %d", byte(o))
}
