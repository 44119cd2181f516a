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

// standInVariable tells Windows tests that the driver is the stand-in and its pair is theirs to use. Only this package sets
// it, because such a test must not touch a user's pair.
const standInVariable = "TELNETCPC_C0SIM=1"

// TestUnits runs the tests that each package has for Windows.
func TestUnits(t *testing.T) {
	w := needWine(t)
	t.Parallel()
	packages := windowsPackages(t)
	// Packages that use the pair, or write com0com's parameters, run one after the other. The others run in parallel: they mostly
	// wait.
	var serial, parallel []string
	for _, name := range packages {
		if strings.Contains(name, "/wincom") || strings.Contains(name, "/cmd/") {
			serial = append(serial, name)
		} else {
			parallel = append(parallel, name)
		}
	}
	var all, rest results
	var both sync.WaitGroup
	both.Go(func() { all = w.goTest(t, []string{standInVariable}, append([]string{"-p", "1"}, serial...)...) })
	both.Go(func() { rest = w.goTest(t, nil, append([]string{"-p", "3"}, parallel...)...) })
	both.Wait()
	all.add(rest)
	for _, name := range packages {
		if !all.ended[name] {
			t.Errorf("%s did not run\n%s", name, all.stderr)
		}
	}
	for _, r := range all.all {
		t.Run(r.name, r.report)
	}
}

// toFile runs a program with its output in a file, and then prints the file. Wine starts helper programs when a test first
// needs them, such as explorer.exe for a console. They inherit the output and exit late, and go test waits for the end of a
// pipe.
const toFile = `#!/bin/sh
out=$(mktemp) || exit
"$LOADER" "$@" >"$out" 2>&1
status=$?
cat "$out"
rm "$out"
exit $status
`

// goTest runs tests in Wine, with env added to their environment, and returns their results. If Wine fails to start a
// program, it runs them once more.
func (w *wine) goTest(t *testing.T, env []string, args ...string) results {
	r := w.goTestOnce(t, env, args...)
	if r.failedWith("fork/exec", "Internal error.") { // Wine's error on a busy machine
		t.Log("Wine failed to start a program: running the tests again")
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
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ended := new(exec.ExitError); err != nil && !errors.As(err, &ended) {
		t.Errorf("go test: %v", err)
	}
	r, err := readResults(bytes.NewReader(out))
	if err != nil {
		t.Errorf("output of go test: %v", err)
	}
	r.stderr = stderr.String()
	return r
}

// forWindows is the environment of a build for Windows. No cgo, because then anyone can build it.
var forWindows = []string{"GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"}

// windowsPackages lists the packages with tests that build for Windows, except this one.
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

// results are the output of go test -json.
type results struct {
	all   []result
	ended map[string]bool // packages that passed or failed

	stderr string // of the go command itself
}

func (r *results) add(more results) {
	r.all = append(r.all, more.all...)
	maps.Copy(r.ended, more.ended)
	r.stderr += more.stderr
}

// failedWith reports whether a failed test has printed a line with all of the words.
func (r *results) failedWith(words ...string) bool {
	for _, one := range r.all {
		for line := range strings.Lines(one.output) {
			if one.verdict == "fail" && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
	}
	return false
}

// result is the result of one test, or of a package that failed outside of its tests.
type result struct{ name, verdict, output string }

func (r result) report(t *testing.T) {
	text := strings.TrimRight(r.output, "\n")
	switch r.verdict {
	case "fail":
		t.Errorf("on Windows:\n%s", text)
	case "skip":
		t.Skip(lastReason(text))
	}
}

// lastReason returns the reason that a test printed when it skipped.
func lastReason(text string) string {
	reason := text
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			reason = line
		}
	}
	return reason
}

// readResults returns the results of tests without subtests, and of those with subtests that failed. If a package fails, a
// test of it without a result has failed too: it hung, or the process died in it.
func readResults(in io.Reader) (results, error) {
	r := results{ended: map[string]bool{}}
	output := map[string]string{}
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
			output[name] += e.Output
		case "pass", "fail", "skip":
			running = slices.DeleteFunc(running, func(s string) bool { return s == name })
			if e.Test == "" {
				r.ended[e.Package] = true
				for _, one := range running {
					if strings.HasPrefix(one, name+"/Test") {
						r.all = append(r.all, result{one, "fail", output[one] + "no result\n"})
					}
				}
			}
			if parents[name] && e.Action == "pass" || e.Test == "" && e.Action != "fail" {
				continue
			}
			r.all = append(r.all, result{name, e.Action, output[name]})
		}
	}
	return r, lines.Err()
}

// A process that dies in a test, or is killed because a test hangs, prints no result of that test.
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
		{"a/b/TestHangs", "fail", "no result\n"},
		{"a/b/TestHangs/here", "fail", "panic: test timed out\nno result\n"},
		{"a/b", "fail", ""},
	}
	if !slices.Equal(r.all, want) {
		t.Errorf("got\n%q\nwant\n%q", r.all, want)
	}
}
