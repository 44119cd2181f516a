//go:build race

package agent_test

// underRace: the race detector multiplies memory and CPU time.
const underRace = true
