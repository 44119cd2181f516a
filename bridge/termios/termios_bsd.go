//go:build darwin || freebsd

package termios

import "golang.org/x/sys/unix"

// The ioctls that read and set a termios (tty(4)).
const (
	Get = unix.TIOCGETA
	Set = unix.TIOCSETA
)

// cmspar: these systems have no mark and space parity.
const cmspar = 0

// speedBits: the speeds are numbers, not bits of c_cflag.
const speedBits = 0

// setBaud sets both speeds.
func setBaud(t *unix.Termios, baud uint32) { setSpeeds(&t.Ispeed, &t.Ospeed, baud) }

// setSpeeds is generic because a speed is of another type on each system.
func setSpeeds[T uint32 | uint64](in, out *T, baud uint32) { *in, *out = T(baud), T(baud) }
