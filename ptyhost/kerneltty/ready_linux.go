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

// prepare makes a new tty raw: a new tty echoes, and would send the device's bytes back to it. The driver keeps the
// termios from one open to the next. prepare needs an open that is not an application's; quiet is closed when that open
// has ended.
func (p *port) prepare(ctx context.Context, a *attachment, name string, quiet <-chan struct{}) error {
	if err := p.makeRaw(ctx, "/dev/"+name); err != nil {
		return err
	}
	// The driver's requests to the device do not count as progress here: another program may cause them, for any time.
	ctx, cancel := p.system.whileProgress(ctx, openPatience, nil, usbProgress)
	defer cancel()
	select {
	case <-quiet:
		steps.Add(1)
		return nil
	case <-a.gone:
		return errGone
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); !errors.Is(err, errNoProgress) {
		return err
	}
	return fmt.Errorf("/dev/%s could not be prepared: another program has had it open for %v (ModemManager? see scripts/README.md on its udev rule)",
		name, openPatience)
}

// makeRaw sets a tty to 9600 8N1, raw, no flow control. Another process does it, because this one must never have its own tty
// open: if it died then, its last close would wait for an answer of the device, which is this process, and the process
// could never exit, not even after SIGKILL.
func (p *port) makeRaw(ctx context.Context, name string) error {
	ctx, cancel := p.system.whileProgress(ctx, openPatience, p.Requests, usbProgress)
	defer cancel()
	cmd := exec.CommandContext(ctx, "stty", "-F", name, "9600", "raw", "-echo", "cs8", "-parenb", "-cstopb", "-crtscts", "hupcl", "clocal")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errNoProgress):
		return fmt.Errorf("prepare %s: stty has made no progress for %v (see dmesg)", name, openPatience)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("prepare %s: %w (install coreutils)", name, err)
	case err != nil:
		return fmt.Errorf("prepare %s: stty: %w: %q", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// giveAccess sets the owner, the group and the mode of a tty, after udev has done so, and warns if ModemManager runs
// and no udev rule makes it ignore the tty. A program that had the tty open before keeps it: see makeReady. after is a
// time before the tty was made; see clock.
func (s system) giveAccess(ctx context.Context, t *tty, access devpath.Access, after uint64, log *slog.Logger) error {
	properties, err := s.udev(ctx, t.name, after)
	if err != nil {
		return err
	}
	if properties != "" && !strings.Contains(properties, "\nE:ID_MM_PORT_IGNORE=1\n") && s.runs("ModemManager") {
		log.Warn("ModemManager runs here and may write AT commands to the device", "device", t.name,
			"hint", "install scripts/"+rules+" in /etc/udev/rules.d")
	}
	_, err = s.setAccess(t, access)
	return err
}

// setAccess sets the owner, the group and the mode of a tty's node, if they differ. It does not open the tty, and it
// does not change another tty that may have the name by now. While the owner changes only root can open it.
func (s system) setAccess(t *tty, access devpath.Access) (changed bool, err error) {
	node := s.path("dev", t.name)
	fd, err := unix.Open(node, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, errGone
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !s.present(t) {
		return false, errGone
	}
	owned := (access.UID == -1 || int(st.Uid) == access.UID) && (access.GID == -1 || int(st.Gid) == access.GID)
	if owned && fs.FileMode(st.Mode).Perm() == access.Mode {
		return false, nil
	}
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	if !owned {
		err := os.Chmod(name, 0)
		if err == nil {
			err = unix.Fchownat(fd, "", access.UID, access.GID, unix.AT_EMPTY_PATH)
		}
		if err != nil {
			return false, fmt.Errorf("owner or group of %s: %w", node, devpath.Cause(err))
		}
	}
	if err := os.Chmod(name, access.Mode); err != nil {
		return false, fmt.Errorf("mode %o of %s: %w", access.Mode, node, devpath.Cause(err))
	}
	return true, nil
}

// clock returns the time as it is in udev's records: microseconds of CLOCK_MONOTONIC.
func clock() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return uint64(now.Nano() / 1000)
}

// udev waits until udev, if it runs, has processed a tty, and returns its record. A record initialised before after
// belongs to an earlier tty of this number, whose removal udev has not processed yet. If udev makes no progress for
// udevPatience, it may set the owner after us: see port.check.
func (s system) udev(ctx context.Context, name string, after uint64) (properties string, err error) {
	if !s.exists("run/udev/control") {
		return "", nil
	}
	record := "c" + s.read("sys/class/tty", name, "dev")
	ctx, cancel := s.whileProgress(ctx, udevPatience, nil, udevProgress)
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
	if errors.Is(err, errNoProgress) {
		err = nil
	}
	return "\n" + properties + "\n", err
}

// runs reports whether a process with this name is running; /proc has its first 15 characters.
func (s system) runs(name string) bool {
	processes, _ := os.ReadDir(s.path("proc"))
	for _, p := range processes {
		if s.read("proc", p.Name(), "comm") == name {
			return true
		}
	}
	return false
}
