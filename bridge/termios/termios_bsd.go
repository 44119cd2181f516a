//go:build darwin || freebsd

package termios

import "golang.org/x/sys/unix"

// The ioctls that read and set a termios (tty(4)).
const (
	Get = unix.TIOCGETA
	Set = unix.TIOCSETA
)

// cmspar is 0: these systems have no mark and space parity.
const cmspar = 0

// speedBits is 0: the speeds are numbers, not bits of c_cflag.
const speedBits = 0

// setBaud sets both speeds.
func setBaud(t *unix.Termios, baud uint32) { setSpeeds(&t.Ispeed, &t.Ospeed, baud) }

// setSpeeds is generic because the type of a speed differs between the systems.
func setSpeeds[T uint32 | uint64](in, out *T, baud uint32) { *in, *out = T(baud), T(baud) }
