package stormtest

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
)

// promise is something that must hold in a storm.
type promise string

const (
	ownDescriptor promise = "an open that succeeds has a descriptor of its own"
	callsReturn   promise = "every call returns"
	killedDie     promise = "a killed program is gone"
	wholeRecords  promise = "records arrive whole, but for what was cut by a signal, a purge, a loss or an end"
	onceOnly      promise = "no byte arrives twice"
	inOrder       promise = "records arrive in the order in which they were written"
	knownRecords  promise = "nothing arrives that nobody wrote"
	codingPlace   promise = "a line coding arrives in its place"
	linesPlace    promise = "DTR and RTS arrive in their place"
	breakCount    promise = "no break is made twice"
	freshEchoes   promise = "nobody reads what the last program has asked for, before it can have left the line"
	noStranger    promise = "no byte reaches another terminal"
	noDecoy       promise = "a path that stands for the port never leads to what is there without it"
	lossesSaid    promise = "losses are stated"
	sameFiles     promise = "the agent's descriptors do not grow"
	sameMemory    promise = "the agent's memory does not grow"
	sameThreads   promise = "the agent's threads do not grow"
	noRace        promise = "the agent has no data race and does not crash"
	agentEnds     promise = "the agent ends when it is told to"
	noLink        promise = "no link is left"
	noLockFile    promise = "no lock file is left"
	noProcess     promise = "no process is left"
)

// unkept are promises that a host does not keep yet, each with the reason. A breach of one of them is logged and does not
// fail the test.
var unkept = map[string]map[promise]string{
	"pty": {freshEchoes: "a close and an open within 0.1 ms look like none to a pty"},
}

// ledger has the breaches of a storm.
type ledger struct {
	t    testing.TB
	host string

	mu     sync.Mutex // over all below
	count  map[promise]int
	rounds map[promise]int // in how many rounds
	now    map[promise]bool
}

func newLedger(t testing.TB, host string) *ledger {
	return &ledger{t: t, host: host, count: map[promise]int{}, rounds: map[promise]int{}, now: map[promise]bool{}}
}

// told is how many breaches of one promise are told; the others are counted.
const told = 3

// breach notes that a promise was not kept.
func (l *ledger) breach(seed uint64, p promise, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[p]++
	if !l.now[p] {
		l.now[p] = true
		l.rounds[p]++
	}
	if l.count[p] > told {
		return
	}
	text := fmt.Sprintf("seed %d: not kept: %s: %s", seed, p, fmt.Sprintf(format, args...))
	if why := unkept[l.host][p]; why != "" && os.Getenv("TELNETCPC_STORM_ALL") == "" {
		l.t.Logf("%s (not kept yet: %s)", text, why)
		return
	}
	l.t.Error(text)
}

// round begins another round.
func (l *ledger) round() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = map[promise]bool{}
}

// any reports whether this round has breached one of these promises.
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

// sum is what was not kept, how often and in how many rounds: one line, which the list of failed tests shows.
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
