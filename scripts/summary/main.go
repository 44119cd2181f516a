// Command summary reads the output of `go test -json` and prints a line for each package, the output of failed tests,
// and each skip with its reason. scripts/test calls it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

func main() {
	counts := flag.String("counts", "", "write `file`: passed failed skipped, then a line for each failed test")
	need := flag.Bool("need", false, "a skip that is not allowed is a failure")
	allowed := map[string]string{}
	flag.Func("allow", "`name|reason` of a test that may skip", func(s string) error {
		name, reason, ok := strings.Cut(s, "|")
		if !ok || name == "" || reason == "" {
			return fmt.Errorf("want name|reason")
		}
		allowed[name] = reason
		return nil
	})
	flag.Parse()

	r := newReport(os.Stdout, *need, allowed)
	err := r.read(os.Stdin)
	r.end()
	if *counts != "" {
		text := fmt.Sprintln(r.passed, len(r.failed), r.skipped)
		for _, name := range r.failed {
			text += name + "\n"
		}
		if werr := os.WriteFile(*counts, []byte(text), 0o666); werr != nil && err == nil {
			err = werr
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	if len(r.failed) > 0 {
		os.Exit(1)
	}
}

// event is one line of `go test -json` (go doc test2json), and of the build's output beside it.
type event struct {
	Action     string
	Package    string
	ImportPath string // build-output, build-fail
	Test       string
	Elapsed    float64
	Output     string
}

// record keeps the output of a test or a package until it ends, to be printed if it fails.
type record struct {
	output                  []string
	passed, failed, skipped int
	ended                   bool
}

type report struct {
	out     io.Writer
	need    bool
	allowed map[string]string

	tests, packages map[string]*record
	passed, skipped int
	skips           []string
	failed          []string // names of failed tests, repeated at the end of the output
}

func (r *report) fail(name string) { r.failed = append(r.failed, name) }

func newReport(out io.Writer, need bool, allowed map[string]string) *report {
	return &report{out: out, need: need, allowed: allowed, tests: map[string]*record{}, packages: map[string]*record{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if jerr := json.Unmarshal(line, &e); jerr != nil {
				fmt.Fprintf(r.out, "%s", line) // not JSON: an error of the go command itself
			} else {
				r.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	if e.Package == "" {
		if e.Action == "build-output" {
			fmt.Fprint(r.out, e.Output)
		}
		return
	}
	pkg := get(r.packages, e.Package)
	if e.Test == "" {
		r.takePackage(e, pkg)
		return
	}
	key := e.Package + " " + e.Test
	test := get(r.tests, key)
	switch e.Action {
	case "output":
		test.output = append(test.output, e.Output)
	case "pass":
		pkg.passed++
		r.passed++
		delete(r.tests, key)
	case "fail":
		pkg.failed++
		r.fail(key + lastLine(test.output))
		fmt.Fprintf(r.out, "FAIL    %s\n%s", key, indent(test.output))
		delete(r.tests, key)
	case "skip":
		r.takeSkip(e, pkg, test)
		delete(r.tests, key)
	}
}

func (r *report) takeSkip(e event, pkg, test *record) {
	why := reason(test.output)
	allowed, ok := r.allowed[e.Test]
	if !ok && r.need {
		pkg.failed++
		r.fail(e.Package + " " + e.Test + ": skipped")
		r.skips = append(r.skips, fmt.Sprintf("FAIL    %s %s: skipped, but nothing may be missing here: %s", e.Package, e.Test, why))
		return
	}
	if ok {
		why += " (may skip: " + allowed + ")"
	}
	pkg.skipped++
	r.skipped++
	r.skips = append(r.skips, fmt.Sprintf("skip    %s %s: %s", e.Package, e.Test, why))
}

func (r *report) takePackage(e event, pkg *record) {
	switch e.Action {
	case "output":
		pkg.output = append(pkg.output, e.Output)
	case "pass":
		pkg.ended = true
		fmt.Fprintf(r.out, "ok      %s: %d passed, %d skipped, %.1f s\n", e.Package, pkg.passed, pkg.skipped, e.Elapsed)
	case "skip":
		pkg.ended = true
		fmt.Fprintf(r.out, "        %s: no test files\n", e.Package)
	case "fail":
		pkg.ended = true
		if pkg.failed == 0 { // it did not build, or ended outside of any test
			r.fail(e.Package)
			pkg.failed++
		}
		fmt.Fprintf(r.out, "FAIL    %s: %d passed, %d failed, %d skipped, %.1f s\n%s",
			e.Package, pkg.passed, pkg.failed, pkg.skipped, e.Elapsed, indent(pkg.output))
	}
}

// end prints the skips, and the names of tests that did not end, such as those of a killed test binary.
func (r *report) end() {
	for _, name := range keys(r.packages) {
		if !r.packages[name].ended {
			r.fail(name + ": did not end")
			fmt.Fprintf(r.out, "FAIL    %s: did not end\n", name)
		}
	}
	for _, name := range keys(r.tests) {
		fmt.Fprintf(r.out, "FAIL    %s: did not end\n%s", name, indent(r.tests[name].output))
		r.fail(name + ": did not end")
	}
	for _, s := range r.skips {
		fmt.Fprintln(r.out, s)
	}
}

const unknown = "no reason given"

// reason returns the last line of the test before it skipped or failed: "    file_test.go:12: why".
func reason(output []string) string {
	why := unknown
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if _, rest, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok := strings.Cut(rest, ": "); ok {
				line = text
			}
		}
		why = line
	}
	return why
}

// lastLine returns the last line of a failed test, for the list at the end: some readers see only that.
func lastLine(output []string) string {
	why := reason(output)
	if why == unknown { // it failed because a subtest did
		return ""
	}
	if most := 500; len(why) > most {
		why = strings.ToValidUTF8(why[:most], "") + "..."
	}
	return ": " + why
}

func indent(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("        " + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}

func get(m map[string]*record, key string) *record {
	if m[key] == nil {
		m[key] = &record{}
	}
	return m[key]
}

func keys(m map[string]*record) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
