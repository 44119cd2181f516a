// Package testenv says where a test runs: under the race detector, in Wine, in CI. It exists for tests and imports nothing of
// ours, so that every test may use it.
package testenv

import (
	"os"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen. A wait that reaches it is a failure; no test relies on its length,
// and none gets faster by a shorter one.
const Patience = 60 * time.Second

// NeedAll reports whether a test that cannot run here is a failure: TELNETCPC_NEED=all, as CI sets it.
func NeedAll() bool { return os.Getenv("TELNETCPC_NEED") == "all" }

// Skip skips a test that cannot run here, and says why: what is missing, and how to get it. Where all is needed (NeedAll) it
// fails the test instead.
func Skip(t testing.TB, why ...any) {
	t.Helper()
	if NeedAll() {
		t.Fatal(why...)
	}
	t.Skip(why...)
}

// RaceFlags are the flags for go build with which a program is built as this test was.
func RaceFlags() []string {
	if Race {
		return []string{"-race"}
	}
	return nil
}
