//go:build !race

package remote

// underRace: see race_test.go.
const underRace = false
