//go:build race

package testenv

// Race says that the race detector watches: it multiplies memory and CPU time, so bounds on them do not hold.
const Race = true
