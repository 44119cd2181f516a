//go:build unix

package hostile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestHostileStorm plays random rows: a stage and some steps, drawn from those of the table, with the bounds of every row.
// TELNETCPC_STORM_SEED repeats one, in the test's own process; TELNETCPC_STORM_TIME sets the duration.
func TestHostileStorm(t *testing.T) {
	b := readTable(t)
	if text := os.Getenv("TELNETCPC_STORM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r := b.random(seed)
		t.Logf("seed %d: %s", seed, r.name)
		playRow(t, b, r)
		return
	}
	until := time.Now().Add(stormTime(t))
	seed := uint64(time.Now().UnixNano())
	t.Run("rows", func(t *testing.T) {
		for range 4 { // four in parallel
			from := seed
			seed += 1_000_000
			t.Run(fmt.Sprint(from), func(t *testing.T) {
				t.Parallel()
				for seed := from; time.Now().Before(until) && !t.Failed(); seed++ {
					process(t, "^TestHostileStorm$", fmt.Sprintf("TELNETCPC_STORM_SEED=%d", seed))
				}
			})
		}
	})
}

// stormTime returns how long the storm lasts.
func stormTime(t *testing.T) time.Duration {
	text := os.Getenv("TELNETCPC_STORM_TIME")
	if text == "" {
		if testing.Short() {
			return time.Second
		}
		return 15 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// random draws a row without steps that take long or that may never succeed.
func (b *table) random(seed uint64) row {
	random := rand.New(rand.NewPCG(seed, 0))
	r := row{must: holds}
	no := []string{"await", "device", "application", "drip", "wait"}
	if random.IntN(3) == 0 { // it ends with a reset, and a session with an honest server must work at once
		r.must = recovers
		no = append(no, "application-stops", "application-writes")
	}
	var steps []step
	for _, other := range b.rows {
		for _, s := range other.steps {
			if !slices.Contains(no, s.verb) {
				steps = append(steps, s)
			}
		}
	}
	stages := slices.Sorted(maps.Keys(b.stages))
	stage := stages[random.IntN(len(stages))]
	r.stage, r.name = b.stages[stage], stage+":"
	for range 1 + random.IntN(5) {
		s := steps[random.IntN(len(steps))]
		r.steps = append(r.steps, s, step{"wait", []string{fmt.Sprintf("%dms", random.IntN(300))}})
		r.name += " " + s.String() + ";"
	}
	if r.must == recovers {
		r.steps = append(r.steps, step{verb: "reset"})
	}
	r.name += " -> " + string(r.must)
	return r
}
