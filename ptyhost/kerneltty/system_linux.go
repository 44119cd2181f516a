package kerneltty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/logind"
)

// modules are the kernel modules that a port needs, in the order in which they are loaded.
var modules = []string{"vhci_hcd", "ftdi_sio"}

// system is this package's access to the machine. Tests replace the root directory and the functions.
type system struct {
	root     string // the prefix of /sys, /proc, /dev and so on; empty on a real machine
	euid     func() int
	release  func() string // of the kernel: uname -r
	modprobe func(ctx context.Context, module string) error
	sleep    *logind.Watch
}

// machine is the system that this process runs on.
func machine() system {
	return system{euid: os.Geteuid, release: kernelRelease, modprobe: modprobe, sleep: logind.System()}
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// modprobe loads a module. The error contains the first line of modprobe's output.
func modprobe(ctx context.Context, module string) error {
	cmd := exec.CommandContext(ctx, "modprobe", module)
	// A service's PATH may lack Debian's directory for it.
	if _, err := exec.LookPath("modprobe"); err != nil {
		cmd = exec.CommandContext(ctx, "/sbin/modprobe", module)
	}
	out, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		text, _, _ = strings.Cut(text, "\n")
		return errors.New(text)
	}
	return err
}

// path returns a path of the system.
func (s system) path(elements ...string) string {
	return filepath.Join(append([]string{s.root + "/"}, elements...)...)
}

// read returns a small file's text without surrounding blanks; empty if it cannot be read.
func (s system) read(elements ...string) string {
	text, _ := os.ReadFile(s.path(elements...))
	return string(bytes.TrimSpace(text))
}

// write writes one line to an existing file of sysfs in one call, as sysfs requires.
func write(name, line string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// check reports why ports cannot be made; nil: they can. It loads the modules.
func (s system) check(ctx context.Context) error {
	if s.euid() != 0 {
		return errors.New("a kernel tty needs root (run telnetcpc as root, or use --host pty)")
	}
	dir, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if err := unix.Access(filepath.Join(dir, "attach"), unix.W_OK); err != nil {
		return fmt.Errorf("%s/attach: %w (in a container /sys must be writable; or use --host pty)", dir, err)
	}
	slots, err := s.slots(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(slots, func(p slot) bool { return p.free }) {
		return allTaken(len(slots))
	}
	return nil
}

func allTaken(n int) error {
	return fmt.Errorf("all %d ports of vhci_hcd are taken (usbip port lists them; end what uses them, or use --host pty)", n)
}

// ready loads the modules that are missing, and returns vhci's directory.
func (s system) ready(ctx context.Context) (vhci string, err error) {
	for _, module := range modules {
		if s.loaded(module) {
			continue
		}
		if err := s.modprobe(ctx, module); err != nil || !s.loaded(module) {
			return "", s.explainModule(module, err)
		}
	}
	return s.vhci(), nil
}

// loaded reports whether a module is loaded or built in: both have files in sysfs.
func (s system) loaded(module string) bool {
	if module == "vhci_hcd" {
		return s.vhci() != ""
	}
	_, err := os.Stat(s.path(newID))
	return err == nil
}

// explainModule describes why a module is missing, and how to get it.
func (s system) explainModule(module string, cause error) error {
	what := fmt.Sprintf("the kernel has no module %s", module)
	if cause != nil {
		what = fmt.Sprintf("module %s: %v", module, strings.TrimPrefix(cause.Error(), "modprobe: "))
	}
	return fmt.Errorf("%s (%s; or use --host pty)", what, s.remedy())
}

// remedy returns how to get the modules on this machine.
func (s system) remedy() string {
	release := s.release()
	if mode := s.lockdown(); mode != "" {
		return fmt.Sprintf("the kernel is locked down (%s) and accepts signed modules only: use the distribution's own kernel", mode)
	}
	id := s.distribution()
	_, err := os.Stat(s.path("lib/modules", release))
	switch {
	case strings.Contains(strings.ToLower(release), "microsoft"):
		return "WSL 2: wsl --update in Windows, and systemd=true in /etc/wsl.conf"
	case s.exists(".dockerenv") || s.exists("run/.containerenv"):
		return fmt.Sprintf("this is a container: modprobe -a %s on its host", strings.Join(modules, " "))
	case err != nil && id != "":
		return fmt.Sprintf("/lib/modules has nothing for the running kernel %s: after an upgrade of the kernel, restart the machine", release)
	case id == "ubuntu":
		return "apt install linux-modules-extra-" + release
	case id == "raspbian" || strings.Contains(release, "rpi") || strings.Contains(release, "+rpt"):
		return "Raspberry Pi OS: apt full-upgrade, then restart; its kernel has the modules"
	case id == "debian":
		return "apt install linux-image-" + strings.TrimPrefix(lastPart(release), "cloud-") + ": Debian's cloud kernel lacks it"
	case id == "fedora":
		return "dnf install kernel-modules-extra-" + release
	}
	return "install the package of your distribution with the kernel's further modules"
}

// lastPart returns a release's flavour: amd64 of 6.1.0-56-cloud-amd64.
func lastPart(release string) string { return release[strings.LastIndexByte(release, '-')+1:] }

func (s system) exists(elements ...string) bool {
	_, err := os.Stat(s.path(elements...))
	return err == nil
}

// distribution returns ID of os-release(5), or the first of ID_LIKE that remedy knows.
func (s system) distribution() string {
	fields := map[string]string{}
	for line := range strings.Lines(s.read("etc/os-release")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[key] = strings.Trim(value, `"'`)
		}
	}
	known := []string{"ubuntu", "raspbian", "debian", "fedora"}
	for _, id := range append([]string{fields["ID"]}, strings.Fields(fields["ID_LIKE"])...) {
		if slices.Contains(known, id) {
			return id
		}
	}
	return fields["ID"]
}

// lockdown returns the mode of the kernel's lockdown(7); empty: none.
func (s system) lockdown() string {
	_, rest, ok := strings.Cut(s.read("sys/kernel/security/lockdown"), "[")
	mode, _, _ := strings.Cut(rest, "]")
	if !ok || mode == "none" {
		return ""
	}
	return mode
}
