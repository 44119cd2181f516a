//go:build !race && (amd64 || arm64)

package run_test

var raceFlags []string
