//go:build race && !plainio

package remote

// underRace: with the race detector sync.Pool drops buffers at random, so that it allocates now and then.
const underRace = true
