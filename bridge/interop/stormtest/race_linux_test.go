//go:build race

package stormtest_test

var raceFlags = []string{"-race"}
