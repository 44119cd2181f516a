//go:build plainio

package ptyhost_test

// plainWay: Go's own means wait for the pty. They carry the same, at their own cost.
const plainWay = true
