//go:build race

package rfc2217_test

// underRace: with the race detector sync.Pool drops buffers at random, so that it allocates now and then.
const underRace = true
