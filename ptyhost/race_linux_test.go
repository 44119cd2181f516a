//go:build race

package ptyhost_test

// underRace: the race detector makes everything some ten times as slow, and sync.Pool allocate.
const underRace = true
