package kerneltty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// prepare makes a new tty raw: a kernel's has echo, which would send back to the device what it says. The driver keeps
// the termios from one open to the next. The open that this takes is our own; it is over when quiet is closed.
func (p *port) prepare(ctx context.Context, a *attachment, name string, quiet <-chan struct{}) error {
	if err := p.makeRaw(ctx, "/dev/"+name); err != nil {
		return err
	}
	// What the driver asks of the device says nothing now: it may be another program that asks, as long as it likes.
	ctx, cancel := p.system.whileMoving(ctx, openPatience, nil, usbShown)
	defer cancel()
	select {
	case <-quiet:
		steps.Add(1)
		return nil
	case <-a.gone:
		return errGone
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); !errors.Is(err, errStill) {
		return err
	}
	return fmt.Errorf("/dev/%s could not be prepared: for %v another program has had it open (ModemManager? see scripts/README.md on its udev rule)",
		name, openPatience)
}

// makeRaw sets a tty to 9600 8N1, raw, no flow control. Another process does it, for this one must never have its own
// tty open: if it died so, its last close would wait for an answer of the device, which is itself, and the process
// would stay for ever, unkillable.
func (p *port) makeRaw(ctx context.Context, name string) error {
	ctx, cancel := p.system.whileMoving(ctx, openPatience, p.Requests, usbShown)
	defer cancel()
	cmd := exec.CommandContext(ctx, "stty", "-F", name, "9600", "raw", "-echo", "cs8", "-parenb", "-cstopb", "-crtscts", "hupcl", "clocal")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errStill):
		return fmt.Errorf("prepare %s: stty has done nothing for %v (dmesg says why)", name, openPatience)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("prepare %s: %w (install coreutils)", name, err)
	case err != nil:
		return fmt.Errorf("prepare %s: stty: %w: %q", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// give sets the owner, the group and the mode of a tty, after udev has done so; and it says what else udev should do. Who
// had it open before keeps it: see makeReady. after is a time before the tty was made, see clock.
func (s system) give(ctx context.Context, t *tty, who devpath.Access, after uint64, log *slog.Logger) error {
	properties, err := s.udev(ctx, t.name, after)
	if err != nil {
		return err
	}
	if properties != "" && !strings.Contains(properties, "\nE:ID_MM_PORT_IGNORE=1\n") && s.runs("ModemManager") {
		log.Warn("ModemManager runs here and may write AT commands to the device", "device", t.name,
			"hint", "install scripts/"+rules+" in /etc/udev/rules.d")
	}
	_, err = s.own(t, who)
	return err
}

// own sets the owner, the group and the mode of a tty's node, where they are others. It does not open the tty, and not
// another's, to which the name may lead by now. Between two owners nobody but root can open it.
func (s system) own(t *tty, who devpath.Access) (changed bool, err error) {
	node := s.path("dev", t.name)
	fd, err := unix.Open(node, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, errGone
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !s.there(t) {
		return false, errGone
	}
	owned := (who.UID == -1 || int(st.Uid) == who.UID) && (who.GID == -1 || int(st.Gid) == who.GID)
	if owned && fs.FileMode(st.Mode).Perm() == who.Mode {
		return false, nil
	}
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	if !owned {
		err := os.Chmod(name, 0)
		if err == nil {
			err = unix.Fchownat(fd, "", who.UID, who.GID, unix.AT_EMPTY_PATH)
		}
		if err != nil {
			return false, fmt.Errorf("owner or group of %s: %w", node, devpath.Cause(err))
		}
	}
	if err := os.Chmod(name, who.Mode); err != nil {
		return false, fmt.Errorf("mode %o of %s: %w", who.Mode, node, devpath.Cause(err))
	}
	return true, nil
}

// clock is what udev's records have of time: microseconds of CLOCK_MONOTONIC.
func clock() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return uint64(now.Nano() / 1000)
}

// udev waits until udev, where it runs, is done with a tty, and returns what it has written down of it. A record that was
// begun before after is of an earlier tty with this number, of whose end udev has not heard yet. Where udev does nothing
// for a while it may set the owner after us: see port.look.
func (s system) udev(ctx context.Context, name string, after uint64) (properties string, err error) {
	if !s.exists("run/udev/control") {
		return "", nil
	}
	record := "c" + s.read("sys/class/tty", name, "dev")
	ctx, cancel := s.whileMoving(ctx, udevPatience, nil, udevShown)
	defer cancel()
	err = poll(ctx, func() (bool, error) {
		properties = s.read("run/udev/data", record)
		if _, rest, ok := strings.Cut("\n"+properties, "\nI:"); ok {
			text, _, _ := strings.Cut(rest, "\n")
			if begun, err := strconv.ParseUint(text, 10, 64); err == nil && begun < after {
				properties = ""
			}
		}
		return properties != "", nil
	})
	if errors.Is(err, errStill) {
		err = nil
	}
	return "\n" + properties + "\n", err
}

// runs reports whether a process of this name runs; /proc has at most 15 characters of it.
func (s system) runs(name string) bool {
	processes, _ := os.ReadDir(s.path("proc"))
	for _, p := range processes {
		if s.read("proc", p.Name(), "comm") == name {
			return true
		}
	}
	return false
}
