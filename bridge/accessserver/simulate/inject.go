package simulate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"telnetcpc/bridge/uart"
)

// Injection is one thing that a simulated device does unasked.
type Injection struct {
	At    time.Duration // since the client's connection
	Event uart.Event    // of KindModem or KindLine; KindData means that there is none
	Data  []byte        // received after the event
}

// The words of an inject file.
const (
	wordParity  = "parity-error"
	wordFraming = "framing-error"
	wordOverrun = "overrun"
	wordBreak   = "break"
	wordModem   = "modem"
	wordData    = "data"
)

const wantWord = "want data \"text\", parity-error BYTE, framing-error BYTE, overrun, break or modem LINES"

// String writes the injection as ParseInject reads it.
func (i Injection) String() string {
	what := wordData + " " + strconv.Quote(string(i.Data))
	switch {
	case i.Event.Kind == uart.KindModem:
		what = wordModem + " " + i.Event.Modem.String()
	case i.Event.Line&uart.LineBreak != 0:
		what = wordBreak
	case i.Event.Line&uart.LineOverrun != 0:
		what = wordOverrun
	case i.Event.Line&uart.LineParity != 0:
		what = fmt.Sprintf("%s %#02x", wordParity, i.Data)
	case i.Event.Line&uart.LineFraming != 0:
		what = fmt.Sprintf("%s %#02x", wordFraming, i.Data)
	}
	return "at " + i.At.String() + " " + what
}

// ParseInject reads an inject file, one injection a line:
//
//	# what the simulated device does, counted from the client's connection
//	at 500ms parity-error 0x41      a byte that arrives with a parity error
//	at 1s    break                  a break, received as a NUL byte
//	at 1.2s  framing-error 0x00     a byte that arrives with a framing error
//	at 1.3s  overrun                the UART has lost bytes
//	at 2s    modem CTS|DSR          these lines are on, the others off; none: all are off
//	at 3s    data "hello\r\n"       bytes, quoted as in Go
//
// Times count from the connection of each client and are written as 500ms, 1.2s or 1m30s. Bytes are written as in Go: 0x41,
// 65, 0b1000001. Empty lines and lines that begin with # are ignored; nothing may follow an injection. Lines may have any
// order: the injections are returned sorted by time, those of one time in their order in the file.
//
// Errors begin with name, the name of the file, and the number of the line, and list what is accepted.
func ParseInject(name string, r io.Reader) ([]Injection, error) {
	var script []Injection
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		injection, err := parseInjection(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		script = append(script, injection)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	slices.SortStableFunc(script, func(a, b Injection) int { return int(max(-1, min(1, a.At-b.At))) })
	return script, nil
}

// cutWord cuts the first word off s.
func cutWord(s string) (word, rest string) {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:])
	}
	return s, ""
}

func parseInjection(line string) (i Injection, err error) {
	at, rest := cutWord(line)
	when, rest := cutWord(rest)
	word, argument := cutWord(rest)
	if i.At, err = time.ParseDuration(when); at != "at" || err != nil || i.At < 0 {
		return i, fmt.Errorf("%q: want a line like \"at 500ms break\": at, a time such as 500ms or 1.2s, what happens", line)
	}
	i.Event.Kind = uart.KindLine
	switch word {
	case wordParity:
		i.Event.Line = uart.LineParity
		i.Data, err = parseByte(argument)
	case wordFraming:
		i.Event.Line = uart.LineFraming
		i.Data, err = parseByte(argument)
	case wordBreak:
		i.Event.Line = uart.LineBreak
		i.Data, err = []byte{0}, parseNothing(argument)
	case wordOverrun:
		i.Event.Line = uart.LineOverrun
		err = parseNothing(argument)
	case wordModem:
		i.Event.Kind = uart.KindModem
		i.Event.Modem, err = parseModem(argument)
	case wordData:
		i.Event.Kind = uart.KindData
		i.Data, err = parseText(argument)
	default:
		return i, fmt.Errorf("%q: %s", word, wantWord)
	}
	if err != nil {
		return i, fmt.Errorf("%s %q: %w", word, argument, err)
	}
	return i, nil
}

func parseByte(s string) ([]byte, error) {
	v, err := strconv.ParseUint(s, 0, 8)
	if err != nil {
		return nil, errors.New("want one byte, 0 to 255 or 0x00 to 0xff")
	}
	return []byte{byte(v)}, nil
}

func parseNothing(s string) error {
	if s != "" {
		return errors.New("want nothing after this word")
	}
	return nil
}

func parseModem(s string) (uart.ModemState, error) {
	m, err := uart.ParseModemState(s)
	if err != nil || m&^(uart.CTS|uart.DSR|uart.RI|uart.DCD) != 0 {
		return 0, errors.New("want CTS, DSR, DCD and RI with | between them, or none")
	}
	return m, nil
}

func parseText(s string) ([]byte, error) {
	text, err := strconv.Unquote(s)
	if err != nil || s[0] == '\'' {
		return nil, errors.New("want text in double quotes, as in \"hello\\r\\n\"")
	}
	return []byte(text), nil
}
