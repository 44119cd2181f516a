//go:build plainio

package ptyhost_test

// plainWay: Go's own means wait for the pty. They carry the same, and cost what they cost.
const plainWay = true
