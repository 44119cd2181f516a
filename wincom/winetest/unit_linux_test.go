package winetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// variableC0Sim tells a test of the Windows half that the driver it finds is the stand-in, and that the pair is its own
// to do with as it likes. Only this package sets it: such a test must not touch a user's pair.
const variableC0Sim = "TELNETCPC_C0SIM=1"

// TestUnits runs the tests that each package has for Windows.
func TestUnits(t *testing.T) {
	w := needWine(t)
	t.Parallel()
	packages := windowsPackages(t)
	// -p 1: the tests of two packages may both want the pair.
	results := w.goTest(t, []string{variableC0Sim}, append([]string{"-p", "1"}, packages...)...)
	for _, name := range packages {
		if !results.tried[name] {
			t.Errorf("%s did not run\n%s", name, results.complaints)
		}
	}
	for _, r := range results.all {
		t.Run(r.name, r.retell)
	}
}

// goTest runs tests inside Wine, with more in their environment, and reads what they say.
func (w *wine) goTest(t *testing.T, env []string, args ...string) results {
	t.Helper()
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-timeout", "5m", "-exec", w.loader}, args...)...)
	cmd.Env = w.env(append(env, forWindows...)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if ended := new(exec.ExitError); err != nil && !errors.As(err, &ended) {
		t.Fatalf("go test: %v", err)
	}
	r := readResults(t, bytes.NewReader(out))
	r.complaints = complaints.String()
	return r
}

// forWindows is the environment of a build. CGO_ENABLED: the tests of a build that anybody can make.
var forWindows = []string{"GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"}

// windowsPackages lists the packages with tests that build for Windows, but this one.
func windowsPackages(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "telnetcpc/...")
	cmd.Env = append(os.Environ(), forWindows...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []string
	for _, name := range strings.Fields(string(out)) {
		if name != "telnetcpc/wincom/winetest" {
			packages = append(packages, name)
		}
	}
	return packages
}

// results are what `go test -json` says.
type results struct {
	all   []result
	tried map[string]bool // packages that came to an end

	complaints string // of the go command itself
}

// result is the end of one test, or of a package that failed outside of any.
type result struct{ name, verdict, output string }

func (r result) retell(t *testing.T) {
	text := strings.TrimRight(r.output, "\n")
	switch r.verdict {
	case "fail":
		t.Errorf("on Windows:\n%s", text)
	case "skip":
		t.Skip(lastReason(text))
	}
}

// lastReason is what a test said when it skipped.
func lastReason(text string) string {
	reason := text
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			reason = line
		}
	}
	return reason
}

// readResults keeps the tests that stand for no others: one with subtests is told by them, unless it failed itself.
func readResults(t *testing.T, in io.Reader) results {
	t.Helper()
	r := results{tried: map[string]bool{}}
	said := map[string]string{}
	parents := map[string]bool{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("go test said %q: %v", lines.Text(), err)
		}
		name := strings.TrimPrefix(e.Package, "telnetcpc/")
		if e.Test != "" {
			name += "/" + e.Test
			parents[name[:strings.LastIndex(name, "/")]] = true
		}
		switch e.Action {
		case "output", "build-output":
			said[name] += e.Output
		case "pass", "fail", "skip":
			if e.Test == "" {
				r.tried[e.Package] = true
			}
			if parents[name] && e.Action == "pass" || e.Test == "" && e.Action != "fail" {
				continue
			}
			r.all = append(r.all, result{name, e.Action, said[name]})
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(fmt.Errorf("what go test said: %w", err))
	}
	return r
}
