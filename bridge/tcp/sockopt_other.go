//go:build !unix && !windows

package tcp

import "syscall"

func inline(syscall.RawConn) {}

func setReceiveBuffer(syscall.RawConn, int) {}

func peek(syscall.RawConn) (first byte, any bool) { return 0, false }
