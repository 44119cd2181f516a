//go:build !unix && !windows

package tcp

import "syscall"

func setRoom(syscall.RawConn, int) {}

func peek(syscall.RawConn) (first byte, any bool) { return 0, false }
