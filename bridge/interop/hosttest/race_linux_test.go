//go:build race

package hosttest_test

var raceFlags = []string{"-race"}
