//go:build !race

package ptyhost_test

// underRace: see race_linux_test.go.
const underRace = false
