//go:build !race

package agent_test

// underRace: see race_linux_test.go.
const underRace = false
