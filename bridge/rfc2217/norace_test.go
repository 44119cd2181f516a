//go:build !race

package rfc2217_test

// underRace: see race_test.go.
const underRace = false
