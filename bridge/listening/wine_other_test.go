//go:build !windows

package listening_test

const wine = false
