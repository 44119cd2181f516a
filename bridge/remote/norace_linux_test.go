//go:build !race && !plainio

package remote

// underRace: see race_linux_test.go.
const underRace = false
