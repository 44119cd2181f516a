//go:build !plainio

package ptyhost_test

// plainWay: see plain_linux_test.go.
const plainWay = false
