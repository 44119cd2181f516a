//go:build !unix && !windows

package tcp

import "syscall"

func inline(syscall.RawConn) {}
