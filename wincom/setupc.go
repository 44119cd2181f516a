package wincom

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// com0com's own program setupc.exe makes and removes pairs. This file builds its command lines and parses its output;
// pair_windows.go runs it.

// Errors that callers branch on.
var (
	// ErrNotInstalled means that com0com's setupc.exe was not found.
	ErrNotInstalled = errors.New("com0com is not installed")
	// ErrNoPair means that no pair has an end of that name.
	ErrNoPair = errors.New("no com0com pair has it")
	// ErrNameTaken means that another port or device of this machine has the name.
	ErrNameTaken = errors.New("the name is taken")
)

// setupcLine is the size of setupc's buffer for the parameters of one end, in characters.
const setupcLine = 200

// setupcWait is how many seconds setupc waits for Windows to install the devices of a new pair.
const setupcWait = "60"

// lastCOM is the highest number that Windows' database of COM names can have.
const lastCOM = 4096

// ParsePortName parses the name of a serial port as people write it, COM9, com9 or \\.\COM9, and returns it as Windows
// spells it: COM9.
func ParsePortName(s string) (string, error) {
	name := strings.ToUpper(strings.TrimPrefix(s, `\\.\`))
	digits, ok := strings.CutPrefix(name, "COM")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n == 0 || n > lastCOM || strconv.FormatUint(n, 10) != digits {
		return "", fmt.Errorf("port %q: want COM1 to COM%d", s, lastCOM)
	}
	return name, nil
}

// End is one of a pair's two ports.
type End struct {
	ID         string   // com0com's name for it: CNCA0
	Name       string   // what programs open: COM9, CNCB0
	Parameters []string // the others, in setupc's syntax: dcd=rout1; without the defaults
}

// Pair is a com0com pair.
type Pair struct {
	Number int
	A, B   End
	Absent bool // it is configured, but its devices do not exist at the moment
}

// Of returns the end that has the name, and its peer.
func (p Pair) Of(name string) (end, peer End, ok bool) {
	switch {
	case strings.EqualFold(p.A.Name, name):
		return p.A, p.B, true
	case strings.EqualFold(p.B.Name, name):
		return p.B, p.A, true
	}
	return End{}, End{}, false
}

// Ours reports whether the pair has the parameters that telnetcpc sets. Pairs that others made have different ones.
func (p Pair) Ours() bool {
	return p.A.has(ourParametersA) && p.B.has(ourParametersB) && strings.EqualFold(p.B.Name, p.B.ID)
}

// FindPair returns the pair that has a port of that name.
func FindPair(pairs []Pair, name string) (Pair, bool) {
	for _, p := range pairs {
		if _, _, ok := p.Of(name); ok {
			return p, true
		}
	}
	return Pair{}, false
}

// The parameters of a pair that telnetcpc makes: the pins, and that programs do not list the agent's end. Valid for com0com
// 2.2 and newer.
var (
	ourParametersA = ApplicationPins().parameters()
	ourParametersB = append(AgentPins().parameters(), "HiddenMode=yes")
)

// has reports whether the end has all these parameters, without regard to case, as in setupc.
func (e End) has(parameters []string) bool {
	return !slices.ContainsFunc(parameters, func(p string) bool {
		return !slices.ContainsFunc(e.Parameters, func(q string) bool { return strings.EqualFold(p, q) })
	})
}

// installArguments returns setupc's arguments that make a pair with this name for the application's end.
func installArguments(number int, name string) ([]string, error) {
	a := strings.Join(append([]string{"PortName=" + name}, ourParametersA...), ",")
	b := strings.Join(append([]string{fmt.Sprintf("PortName=CNCB%d", number)}, ourParametersB...), ",")
	if len(a) >= setupcLine || len(b) >= setupcLine {
		return nil, fmt.Errorf("the parameters of pair %d have %d characters or more, which setupc does not accept", number, setupcLine)
	}
	return []string{"--wait", setupcWait, "install", strconv.Itoa(number), a, b}, nil
}

var listLine = regexp.MustCompile(`^\s+CNC([AB])(\d{1,9})\s+(\S+)\s*$`)

// ParsePairs parses the output of setupc list: two lines a pair. Other lines, and an end without its peer, are ignored. The
// pairs are sorted by number.
func ParsePairs(text string) []Pair {
	ends := map[string]map[int]End{"A": {}, "B": {}}
	for line := range strings.Lines(text) {
		m := listLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		number, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		ends[m[1]][number] = parseEnd("CNC"+m[1]+m[2], m[3])
	}
	var pairs []Pair
	for number, a := range ends["A"] {
		if b, ok := ends["B"][number]; ok {
			pairs = append(pairs, Pair{Number: number, A: a, B: b})
		}
	}
	slices.SortFunc(pairs, func(p, q Pair) int { return p.Number - q.Number })
	return pairs
}

// parseEnd parses PortName=COM9,dcd=rout1. If PortName is COM#, the Ports class chose the name and RealPortName is what
// programs open. A PortName of "-" means com0com's own name for the end.
func parseEnd(id, parameters string) End {
	e := End{ID: id, Name: id}
	real := ""
	for p := range strings.SplitSeq(parameters, ",") {
		key, value, _ := strings.Cut(p, "=")
		switch {
		case strings.EqualFold(key, "RealPortName"):
			real = value
		case strings.EqualFold(key, "PortName"):
			if value != "-" && value != "" {
				e.Name = value
			}
		case p != "":
			e.Parameters = append(e.Parameters, p)
		}
	}
	if real != "" && real != "-" {
		e.Name = real
	}
	return e
}

// endWords formats the registry parameters of one end as setupc list prints them. 0 is the default and left out.
func endWords(texts map[string]string, numbers map[string]uint32) string {
	words := []string{"PortName=-"}
	for key, text := range texts {
		switch {
		case strings.EqualFold(key, "PortName"):
			words[0] = key + "=" + text
		case strings.EqualFold(key, "RealPortName"):
			words = append(words, key+"="+text)
		}
	}
	for key, n := range numbers {
		if word := parameterWord(strings.ToLower(key), n); word != "" {
			words = append(words, key+"="+word)
		}
	}
	slices.SortFunc(words[1:], func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return strings.Join(words, ",")
}

// parameterWord formats the value of one parameter; empty for the default.
func parameterWord(key string, n uint32) string {
	const yes = 0xFFFFFFFF // what setupc writes; the driver accepts any nonzero value
	switch {
	case n == 0:
		return ""
	case slices.Contains([]string{"cts", "dsr", "dcd", "ri"}, key):
		return Pin(n).String()
	case slices.Contains([]string{"emubr", "emuoverrun", "pluginmode", "exclusivemode", "alldatabits"}, key), n == yes:
		return "yes"
	}
	return strconv.FormatUint(uint64(n), 10)
}

// Setupc runs commands of setupc.exe.
type Setupc struct {
	// Run runs setupc.exe with --silent and these arguments, and returns its output.
	Run func(ctx context.Context, arguments ...string) (string, error)
}

// Pairs lists all pairs.
func (s Setupc) Pairs(ctx context.Context) ([]Pair, error) {
	text, err := s.Run(ctx, "list")
	if err != nil {
		return nil, fmt.Errorf("setupc list: %w", err)
	}
	return ParsePairs(text), nil
}

// Add makes a pair with this name for the application's end and telnetcpc's parameters, and returns it. It first checks
// that the name is free: setupc would take it away from another port.
func (s Setupc) Add(ctx context.Context, name string) (Pair, error) {
	pairs, err := s.Pairs(ctx)
	if err != nil {
		return Pair{}, err
	}
	if p, ok := FindPair(pairs, name); ok {
		return p, fmt.Errorf("%w: %s is an end of com0com pair %d already", ErrNameTaken, name, p.Number)
	}
	switch busy, err := s.busy(ctx, name); {
	case err != nil:
		return Pair{}, err
	case busy:
		return Pair{}, fmt.Errorf("%w: another device has %s, or had it and Windows keeps it reserved (choose another name)", ErrNameTaken, name)
	}
	number, err := s.freeNumber(ctx, pairs)
	if err != nil {
		return Pair{}, err
	}
	arguments, err := installArguments(number, name)
	if err != nil {
		return Pair{}, err
	}
	output, err := s.Run(ctx, arguments...)
	if err != nil {
		return Pair{}, fmt.Errorf("setupc install: %w", err)
	}
	if pairs, err = s.Pairs(ctx); err != nil {
		return Pair{}, err
	}
	p, ok := FindPair(pairs, name)
	if !ok {
		return Pair{}, fmt.Errorf("setupc install made no pair with %s; its output: %s", name, quoteOutput(output))
	}
	return p, nil
}

// Remove removes the pair that has an end of that name, whoever made it, and returns it.
func (s Setupc) Remove(ctx context.Context, name string) (Pair, error) {
	pairs, err := s.Pairs(ctx)
	if err != nil {
		return Pair{}, err
	}
	p, ok := FindPair(pairs, name)
	if !ok {
		return Pair{}, fmt.Errorf("%s: %w", name, ErrNoPair)
	}
	output, err := s.Run(ctx, "remove", strconv.Itoa(p.Number))
	if err != nil {
		return Pair{}, fmt.Errorf("setupc remove: %w", err)
	}
	if pairs, err = s.Pairs(ctx); err != nil {
		return Pair{}, err
	}
	if _, ok := FindPair(pairs, name); ok {
		return Pair{}, fmt.Errorf("setupc remove did not remove pair %d; its output: %s (a program may have %s open: end it, then try again)",
			p.Number, quoteOutput(output), name)
	}
	return p, nil
}

// busy reports whether the name is in Windows' database of COM names, or a device has it.
func (s Setupc) busy(ctx context.Context, name string) (bool, error) {
	text, err := s.Run(ctx, "busynames", name)
	if err != nil {
		return false, fmt.Errorf("setupc busynames: %w", err)
	}
	return slices.ContainsFunc(strings.Fields(text), func(word string) bool { return strings.EqualFold(word, name) }), nil
}

// freeNumber returns the lowest number that no pair has and whose name for end B is free.
func (s Setupc) freeNumber(ctx context.Context, pairs []Pair) (int, error) {
	const most = 1000
	for n := range most {
		if slices.ContainsFunc(pairs, func(p Pair) bool { return p.Number == n }) {
			continue
		}
		busy, err := s.busy(ctx, fmt.Sprintf("CNCB%d", n))
		if err != nil || !busy {
			return n, err
		}
	}
	return 0, fmt.Errorf("there are %d com0com pairs already", most)
}

// quoteOutput quotes setupc's output as one line, shortened.
func quoteOutput(output string) string {
	const most = 300
	words := strings.Join(strings.Fields(output), " ")
	if len(words) > most {
		words = words[:most] + "..."
	}
	return strconv.Quote(words)
}
