package kerneltty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"telnetcpc/ptyhost/devpath"
)

// prepare makes a new tty raw: a kernel's has echo, which would send back to the device what it says. The driver keeps
// the termios from one open to the next. The open that this takes is our own; it is over when quiet is closed.
func (p *port) prepare(ctx context.Context, a *attachment, quiet <-chan struct{}) error {
	if err := p.makeRaw(ctx, "/dev/"+a.name); err != nil {
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
		a.name, openPatience)
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

// give sets the owner, the group and the mode of a tty, after udev has done so; and it says what else udev should do.
func (s system) give(ctx context.Context, name string, who devpath.Access, log *slog.Logger) error {
	properties, err := s.udev(ctx, name)
	if err != nil {
		return err
	}
	if properties != "" && !strings.Contains(properties, "\nE:ID_MM_PORT_IGNORE=1\n") && s.runs("ModemManager") {
		log.Warn("ModemManager runs here and may write AT commands to the device", "device", name,
			"hint", "install scripts/"+rules+" in /etc/udev/rules.d")
	}
	node := s.path("dev", name)
	if who.UID != -1 || who.GID != -1 {
		if err := os.Chown(node, who.UID, who.GID); err != nil {
			return fmt.Errorf("owner or group of %s: %w", node, devpath.Cause(err))
		}
	}
	if err := os.Chmod(node, who.Mode); err != nil {
		return fmt.Errorf("mode %o of %s: %w", who.Mode, node, devpath.Cause(err))
	}
	return nil
}

// udev waits until udev, where it runs, is done with a tty, and returns what it has written down of it. Where udev stands
// still it may set the owner after us.
func (s system) udev(ctx context.Context, name string) (properties string, err error) {
	if !s.exists("run/udev/control") {
		return "", nil
	}
	record := "c" + s.read("sys/class/tty", name, "dev")
	ctx, cancel := s.whileMoving(ctx, udevPatience, nil, udevShown)
	defer cancel()
	err = poll(ctx, func() (bool, error) {
		properties = s.read("run/udev/data", record)
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
