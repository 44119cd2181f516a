//go:build !windows

package testenv

// Wine says that this is Wine and no Windows.
const Wine = false
