package winetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	// Those that use the pair, or write com0com's parameters, run one after the other. The others mostly wait.
	var own, other []string
	for _, name := range packages {
		if strings.Contains(name, "/wincom") || strings.Contains(name, "/cmd/") {
			own = append(own, name)
		} else {
			other = append(other, name)
		}
	}
	var all, more results
	var both sync.WaitGroup
	both.Go(func() { all = w.goTest(t, []string{variableC0Sim}, append([]string{"-p", "1"}, own...)...) })
	both.Go(func() { more = w.goTest(t, nil, append([]string{"-p", "3"}, other...)...) })
	both.Wait()
	all.add(more)
	for _, name := range packages {
		if !all.tried[name] {
			t.Errorf("%s did not run\n%s", name, all.complaints)
		}
	}
	for _, r := range all.all {
		t.Run(r.name, r.retell)
	}
}

// toFile runs a program with a file for its output, and then shows that. Wine starts a program of its own where a test is the
// first to need one, as an explorer.exe for its console; that one inherits the output and ends when it likes, and of a pipe
// go test waits for the end.
const toFile = `#!/bin/sh
out=$(mktemp) || exit
"$LOADER" "$@" >"$out" 2>&1
status=$?
cat "$out"
rm "$out"
exit $status
`

// goTest runs tests inside Wine, with more in their environment, and reads what they say. If Wine fails
// to start a program, they run once more.
func (w *wine) goTest(t *testing.T, env []string, args ...string) results {
	r := w.goTestOnce(t, env, args...)
	if r.say("fork/exec", "Internal error.") { // so Wine says on a busy machine; no Windows does
		t.Log("Wine has not started a program: the tests run again")
		return w.goTestOnce(t, env, args...)
	}
	return r
}

func (w *wine) goTestOnce(t *testing.T, env []string, args ...string) results {
	through := filepath.Join(t.TempDir(), "to-file")
	if err := os.WriteFile(through, []byte(toFile), 0o700); err != nil {
		t.Fatal(err)
	}
	env = append(env, "LOADER="+w.loader)
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-timeout", "5m", "-exec", through}, args...)...)
	cmd.Env = w.env(append(env, forWindows...)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if ended := new(exec.ExitError); err != nil && !errors.As(err, &ended) {
		t.Errorf("go test: %v", err)
	}
	r, err := readResults(bytes.NewReader(out))
	if err != nil {
		t.Errorf("what go test said: %v", err)
	}
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

func (r *results) add(more results) {
	r.all = append(r.all, more.all...)
	maps.Copy(r.tried, more.tried)
	r.complaints += more.complaints
}

// say reports whether a test that failed has said a line with all of the words.
func (r *results) say(words ...string) bool {
	for _, one := range r.all {
		for line := range strings.Lines(one.output) {
			if one.verdict == "fail" && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
	}
	return false
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

// readResults keeps the tests that stand for no others: one with subtests is told by them, unless it failed itself. Where a
// package fails, a test of it without an end has failed: it hung, or the process died in it.
func readResults(in io.Reader) (results, error) {
	r := results{tried: map[string]bool{}}
	said := map[string]string{}
	parents := map[string]bool{}
	var running []string
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return r, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		name := strings.TrimPrefix(e.Package, "telnetcpc/")
		if e.Test != "" {
			name += "/" + e.Test
			parents[name[:strings.LastIndex(name, "/")]] = true
		}
		switch e.Action {
		case "run":
			running = append(running, name)
		case "output", "build-output":
			said[name] += e.Output
		case "pass", "fail", "skip":
			running = slices.DeleteFunc(running, func(s string) bool { return s == name })
			if e.Test == "" {
				r.tried[e.Package] = true
				for _, one := range running {
					if strings.HasPrefix(one, name+"/Test") {
						r.all = append(r.all, result{one, "fail", said[one] + "it did not end\n"})
					}
				}
			}
			if parents[name] && e.Action == "pass" || e.Test == "" && e.Action != "fail" {
				continue
			}
			r.all = append(r.all, result{name, e.Action, said[name]})
		}
	}
	return r, lines.Err()
}

// A process that dies in a test, or is killed in one that hangs, says no end of it.
func TestReadResults(t *testing.T) {
	r, err := readResults(strings.NewReader(`
{"Action":"run","Package":"telnetcpc/a","Test":"TestGood"}
{"Action":"pass","Package":"telnetcpc/a","Test":"TestGood"}
{"Action":"pass","Package":"telnetcpc/a"}
{"Action":"run","Package":"telnetcpc/a/b","Test":"TestHangs"}
{"Action":"run","Package":"telnetcpc/a/b","Test":"TestHangs/here"}
{"Action":"output","Package":"telnetcpc/a/b","Test":"TestHangs/here","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"telnetcpc/a/b"}
`[1:]))
	if err != nil {
		t.Fatal(err)
	}
	want := []result{
		{"a/TestGood", "pass", ""},
		{"a/b/TestHangs", "fail", "it did not end\n"},
		{"a/b/TestHangs/here", "fail", "panic: test timed out\nit did not end\n"},
		{"a/b", "fail", ""},
	}
	if !slices.Equal(r.all, want) {
		t.Errorf("got\n%q\nwant\n%q", r.all, want)
	}
}
