//go:build plainio

package terminal

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waiter waits for the master as wait_linux.go's does, by Go's own means: the plain way, to compare the other with.
type waiter struct {
	tryRead, tryWrite func(uintptr) bool
	file              *os.File // the master, in the netpoller
	raw               syscall.RawConn
}

func newWaiter(master int, tryRead, tryWrite func() bool) (*waiter, error) {
	fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("the pty's master: %w", err)
	}
	w := &waiter{
		tryRead:  func(uintptr) bool { return tryRead() },
		tryWrite: func(uintptr) bool { return tryWrite() },
		file:     os.NewFile(uintptr(fd), "pty master"),
	}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		_ = w.file.Close()
		return nil, fmt.Errorf("the pty's master: %w", err)
	}
	return w, nil
}

func (w *waiter) read() error  { return w.raw.Read(w.tryRead) }
func (w *waiter) write() error { return w.raw.Write(w.tryWrite) }

func (w *waiter) pokeReader()   { _ = w.file.SetReadDeadline(time.Unix(1, 0)) }
func (w *waiter) pokeWriter()   { _ = w.file.SetWriteDeadline(time.Unix(1, 0)) }
func (w *waiter) unpokeReader() { _ = w.file.SetReadDeadline(time.Time{}) }
func (w *waiter) unpokeWriter() { _ = w.file.SetWriteDeadline(time.Time{}) }

func (w *waiter) close() { _ = w.file.Close() }

func readMaster(fd int, p []byte) (n int, gone bool) { return call(unix.Read, fd, p) }

func writeMaster(fd int, p []byte) int {
	n, _ := call(unix.Write, fd, p)
	return n
}

func call(f func(int, []byte) (int, error), fd int, p []byte) (n int, eio bool) {
	for {
		n, err := f(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err == unix.EIO
		}
	}
}

func readTermios(fd int, t *unix.Termios) bool {
	got, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return false
	}
	*t = *got
	return true
}
