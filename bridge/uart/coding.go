package uart

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Parity has the values of RFC 2217's SET-PARITY.
type Parity uint8

const (
	ParityNone  Parity = 1 // N
	ParityOdd   Parity = 2 // O
	ParityEven  Parity = 3 // E
	ParityMark  Parity = 4 // M
	ParitySpace Parity = 5 // S
)

const parityLetters = "?NOEMS"

// String returns the letter that 8N1 uses, or "?" for an unset or unknown parity.
func (p Parity) String() string {
	if int(p) < len(parityLetters) {
		return parityLetters[p : p+1]
	}
	return "?"
}

// StopBits has the values of RFC 2217's SET-STOPSIZE.
type StopBits uint8

const (
	Stop1     StopBits = 1
	Stop2     StopBits = 2
	Stop1Half StopBits = 3 // 1.5
)

// String returns "1", "2" or "1.5", or "?" for an unset or unknown size.
func (s StopBits) String() string {
	switch s {
	case Stop1:
		return "1"
	case Stop2:
		return "2"
	case Stop1Half:
		return "1.5"
	}
	return "?"
}

// Coding is a line coding. A zero field is unset.
type Coding struct {
	Baud     uint32 // bits per second, 1 to 4294967295
	DataBits uint8  // 5 to 8
	Parity   Parity
	StopBits StopBits
}

// DefaultCoding returns the coding of a new port: 9600 8N1.
func DefaultCoding() Coding {
	return Coding{Baud: 9600, DataBits: 8, Parity: ParityNone, StopBits: Stop1}
}

// String formats a coding as ParseCoding reads it: "19200 7E1", "9600" or "7E1" if one half is unset, "" for the zero
// value. In a half that is only partly set, unset fields print as "?".
func (c Coding) String() string {
	var parts []string
	if c.Baud != 0 {
		parts = append(parts, strconv.FormatUint(uint64(c.Baud), 10))
	}
	if c.DataBits != 0 || c.Parity != 0 || c.StopBits != 0 {
		bits := "?"
		if c.DataBits != 0 {
			bits = strconv.Itoa(int(c.DataBits))
		}
		parts = append(parts, bits+c.Parity.String()+c.StopBits.String())
	}
	return strings.Join(parts, " ")
}

// ParseCoding reads "19200 7E1", "19200" or "7E1"; letters in either case, the two parts separated by blanks. The error
// names what is wrong and the accepted form.
func ParseCoding(s string) (Coding, error) {
	fields := strings.Fields(s)
	var c Coding
	switch len(fields) {
	case 1:
		if len(fields[0]) >= 3 && strings.ContainsAny(fields[0], "NOEMSnoems") {
			return c, parseFrame(&c, fields[0])
		}
		return c, parseBaud(&c, fields[0])
	case 2:
		if err := parseBaud(&c, fields[0]); err != nil {
			return Coding{}, err
		}
		if err := parseFrame(&c, fields[1]); err != nil {
			return Coding{}, err
		}
		return c, nil
	}
	return c, fmt.Errorf("line coding %q: want a form like \"19200 7E1\", \"19200\" or \"7E1\"", s)
}

func parseBaud(c *Coding, s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return fmt.Errorf("baud rate %q: want a number from 1 to %d", s, uint32(math.MaxUint32))
	}
	c.Baud = uint32(n)
	return nil
}

// parseFrame reads data bits, parity and stop bits: 7E1, 8N2, 5O1.5.
func parseFrame(c *Coding, s string) error {
	bad := fmt.Errorf("line coding %q: want data bits 5 to 8, parity N, O, E, M or S, stop bits 1, 1.5 or 2, as in 7E1", s)
	if len(s) < 3 || s[0] < '5' || s[0] > '8' {
		return bad
	}
	parity := strings.IndexByte(parityLetters, strings.ToUpper(s[1:2])[0])
	if parity < 1 {
		return bad
	}
	f := Coding{Baud: c.Baud, DataBits: s[0] - '0', Parity: Parity(parity)}
	switch s[2:] {
	case "1":
		f.StopBits = Stop1
	case "2":
		f.StopBits = Stop2
	case "1.5":
		f.StopBits = Stop1Half
	default:
		return bad
	}
	*c = f
	return nil
}

// Over returns base overridden by the fields that c sets: a change applied to the current coding, or a pinned coding
// applied to what the application requests.
func (c Coding) Over(base Coding) Coding {
	if c.Baud == 0 {
		c.Baud = base.Baud
	}
	if c.DataBits == 0 {
		c.DataBits = base.DataBits
	}
	if c.Parity == 0 {
		c.Parity = base.Parity
	}
	if c.StopBits == 0 {
		c.StopBits = base.StopBits
	}
	return c
}

// Minus returns the fields of c that differ from base, with the others unset: the change to send.
func (c Coding) Minus(base Coding) Coding {
	if c.Baud == base.Baud {
		c.Baud = 0
	}
	if c.DataBits == base.DataBits {
		c.DataBits = 0
	}
	if c.Parity == base.Parity {
		c.Parity = 0
	}
	if c.StopBits == base.StopBits {
		c.StopBits = 0
	}
	return c
}

// LineTime returns how long n bytes take on a line with this coding, counting start bit, data bits, parity and stop
// bits. Unset fields count as those of DefaultCoding. The result is capped at 146 years, so that it cannot overflow.
func (c Coding) LineTime(n int) time.Duration {
	c = c.Over(DefaultCoding())
	halfBits := 2 * (1 + int64(c.DataBits)) // the start bit and the data bits; half bits because of 1.5 stop bits
	if c.Parity != ParityNone {
		halfBits += 2
	}
	switch c.StopBits {
	case Stop2:
		halfBits += 4
	case Stop1Half:
		halfBits += 3
	default:
		halfBits += 2
	}
	seconds := float64(n) * float64(halfBits) / 2 / float64(c.Baud)
	return time.Duration(min(seconds*float64(time.Second), float64(math.MaxInt64/2)))
}
