//go:build unix

package hostile

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

//go:embed testdata/rows.txt
var rowsText string

// row is a line of the table.
type row struct {
	name  string // the line, with single spaces
	stage []step
	steps []step
	must  must
}

// all returns the stage's steps, then the row's own.
func (r row) all() []step { return slices.Concat(r.stage, r.steps) }

// step is one thing that the server does.
type step struct {
	verb string
	args []string
}

func (s step) String() string { return strings.Join(append([]string{s.verb}, s.args...), " ") }

// must is the verdict that a row requires.
type must string

const (
	lives    must = "lives"    // the session stays up
	recovers must = "recovers" // the next connection is to an honest server, and works
	holds    must = "holds"    // the session may stay up or end
	repeats  must = "repeats"  // each connection is the same
)

// table is rows.txt.
type table struct {
	stages map[string][]step
	words  map[string][]byte
	rows   []row
}

func readTable(t *testing.T) *table {
	t.Helper()
	b := &table{stages: map[string][]step{}, words: map[string][]byte{}}
	for i, line := range strings.Split(rowsText, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := b.line(line); err != nil {
			t.Fatalf("rows.txt:%d: %v", i+1, err)
		}
	}
	for _, r := range b.rows {
		for _, s := range r.all() {
			if err := b.check(s); err != nil {
				t.Fatalf("rows.txt: %s: %s: %v", r.name, s, err)
			}
		}
	}
	return b
}

func (b *table) line(line string) error {
	if name, is := strings.CutPrefix(line, "stage "); is {
		name, text, _ := strings.Cut(name, "=")
		b.stages[strings.TrimSpace(name)] = b.steps(text)
		return nil
	}
	if word, is := strings.CutPrefix(line, "word "); is {
		fields := strings.Fields(word)
		p, err := hex.DecodeString(strings.Join(fields[1:], ""))
		b.words[fields[0]] = p
		return err
	}
	text, verdict, ok := strings.Cut(line, "->")
	stage, does, ok2 := strings.Cut(text, ":")
	if !ok || !ok2 {
		return fmt.Errorf("want stage: steps -> must, got %q", line)
	}
	if _, known := b.stages[stage]; !known {
		return fmt.Errorf("unknown stage %q", stage)
	}
	r := row{
		name: strings.Join(strings.Fields(line), " "), stage: b.stages[stage], steps: b.steps(does), must: must(strings.TrimSpace(verdict)),
	}
	switch r.must {
	case lives, recovers, holds, repeats:
	default:
		return fmt.Errorf("unknown verdict %q", r.must)
	}
	if slices.ContainsFunc(b.rows, func(o row) bool { return o.name == r.name }) {
		return fmt.Errorf("duplicate row %q", r.name)
	}
	b.rows = append(b.rows, r)
	return nil
}

// steps parses steps. The name of a stage is replaced by its steps.
func (b *table) steps(text string) (all []step) {
	for one := range strings.SplitSeq(text, ";") {
		f := strings.Fields(one)
		if len(f) == 0 {
			continue
		}
		if before, is := b.stages[f[0]]; is && len(f) == 1 {
			all = append(all, before...)
			continue
		}
		all = append(all, step{f[0], f[1:]})
	}
	return all
}

// check finds mistakes in the table before anything is played.
func (b *table) check(s step) error {
	if _, known := verbs[s.verb]; !known {
		return fmt.Errorf("unknown step")
	}
	switch s.verb {
	case "send", "await":
		_, err := b.bytes(s.args)
		return err
	case "drip":
		_, err := b.bytes(s.args[1:])
		return err
	case "flood":
		if floods[s.args[0]] == nil {
			return fmt.Errorf("unknown flood")
		}
	}
	return nil
}

// bytes returns the bytes of words and hex digits.
func (b *table) bytes(args []string) (p []byte, err error) {
	for _, a := range args {
		more, known := b.words[a]
		if !known {
			if more, err = hex.DecodeString(a); err != nil {
				return nil, err
			}
		}
		p = append(p, more...)
	}
	return p, nil
}

// row returns the row with a name.
func (b *table) row(t *testing.T, name string) row {
	t.Helper()
	for _, r := range b.rows {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("rows.txt has no row %q", name)
	return row{}
}
