package stormtest

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
)

// promise is something that must be true in a storm.
type promise string

const (
	ownDescriptor promise = "an open that succeeds has a descriptor of its own"
	callsReturn   promise = "every call returns"
	killedDie     promise = "a killed program ends"
	wholeRecords  promise = "records arrive whole, unless a signal, a purge, a loss or the end cut them"
	onceOnly      promise = "no byte arrives twice"
	inOrder       promise = "records arrive in the order in which they were written"
	knownRecords  promise = "nothing arrives that no program wrote"
	codingPlace   promise = "a line coding arrives at its position between the bytes"
	linesPlace    promise = "DTR and RTS arrive at their position between the bytes"
	breakCount    promise = "no break is sent twice"
	freshEchoes   promise = "no program reads the reply to the previous program's record before that record can have left the line"
	noStranger    promise = "no byte reaches another terminal"
	noDecoy       promise = "a path of the port never leads to the device that has this path without telnetcpc"
	lossesLogged  promise = "losses are logged"
	sameFiles     promise = "the agent's descriptors do not grow"
	sameMemory    promise = "the agent's memory does not grow"
	sameThreads   promise = "the agent's threads do not grow"
	noRace        promise = "the agent has no data race and does not crash"
	agentEnds     promise = "the agent ends when it is asked to"
	noLink        promise = "no link is left"
	noLockFile    promise = "no lock file is left"
	noProcess     promise = "no process is left"
)

// unkept lists the promises that a host does not keep yet, with the reason. A breach of one of them is logged and does not
// fail the test.
var unkept = map[string]map[promise]string{
	"pty": {freshEchoes: "a pty does not see a close and an open within 0.1 ms"},
}

// ledger counts the breaches of a storm.
type ledger struct {
	t    testing.TB
	host string

	mu     sync.Mutex // guards the fields below
	count  map[promise]int
	rounds map[promise]int  // rounds with at least one breach
	now    map[promise]bool // breached in this round
}

func newLedger(t testing.TB, host string) *ledger {
	return &ledger{t: t, host: host, count: map[promise]int{}, rounds: map[promise]int{}, now: map[promise]bool{}}
}

// shownMost is how many breaches of one promise are reported; the rest are only counted.
const shownMost = 3

// breach records that a promise was not kept.
func (l *ledger) breach(seed uint64, p promise, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[p]++
	if !l.now[p] {
		l.now[p] = true
		l.rounds[p]++
	}
	if l.count[p] > shownMost {
		return
	}
	text := fmt.Sprintf("seed %d: not kept: %s: %s", seed, p, fmt.Sprintf(format, args...))
	if why := unkept[l.host][p]; why != "" && os.Getenv("TELNETCPC_STORM_ALL") == "" {
		l.t.Logf("%s (not kept yet: %s)", text, why)
		return
	}
	l.t.Error(text)
}

// round starts another round.
func (l *ledger) round() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = map[promise]bool{}
}

// any reports whether one of these promises was breached in this round.
func (l *ledger) any(promises ...promise) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range promises {
		if l.now[p] {
			return true
		}
	}
	return false
}

// sum returns the promises that were not kept, how often and in how many rounds: one line, for the list of failed tests.
func (l *ledger) sum() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for p, n := range l.count {
		lines = append(lines, fmt.Sprintf("%s: %d times, in %d rounds", p, n, l.rounds[p]))
	}
	sort.Strings(lines)
	if len(lines) == 0 {
		return "every promise was kept"
	}
	return "not kept: " + strings.Join(lines, "; ")
}
