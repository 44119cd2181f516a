//go:build unix

package hostile

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var sprintf = fmt.Sprintf

// rowAlone is the environment variable with the name of the row that this process plays.
const rowAlone = "TELNETCPC_HOSTILE_ROW"

func TestMain(m *testing.M) {
	flag.Parse()
	// Rows wait more than they compute. Rows that flood have a limit of their own.
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", "64")
	}
	os.Exit(m.Run())
}

// TestHostileServer plays rows.txt, each row in a process of its own.
func TestHostileServer(t *testing.T) {
	b := readTable(t)
	if name := os.Getenv(rowAlone); name != "" {
		playRow(t, b, b.row(t, name))
		return
	}
	busy, idle := make(chan struct{}, 4*runtime.GOMAXPROCS(0)), make(chan struct{}, 24)
	for _, r := range b.rows {
		t.Run(r.name, func(t *testing.T) {
			if testing.Short() && r.slow() {
				t.Skip("it takes more than 10 s")
			}
			t.Parallel()
			turn := idle
			if r.floods() {
				turn = busy
			}
			turn <- struct{}{}
			defer func() { <-turn }()
			process(t, "^TestHostileServer$", rowAlone+"="+r.name)
		})
	}
}

func (r row) floods() bool {
	return slices.ContainsFunc(r.steps, func(s step) bool { return s.verb == "flood" })
}

// slow reports whether a row waits for a timeout of 10 s or more.
func (r row) slow() bool {
	return r.must == repeats || slices.ContainsFunc(r.steps, func(s step) bool { return s.verb == "drip" })
}

// process runs a test of this package in a process of its own and logs its output.
func process(t *testing.T, test string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	args := []string{"-test.run", test, "-test.v", "-test.timeout", "200s"}
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	for line := range strings.Lines(out.String()) {
		if err != nil || strings.Contains(line, "row_test.go") && !strings.Contains(line, "log: ") && !strings.Contains(line, "server: ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Errorf("%s: %v", strings.Join(env, " "), err)
	}
}
