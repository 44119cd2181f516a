package stormtest

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// patience is how long a call of a program, the end of a killed process, or the end of an agent may take on a busy machine.
const patience = 45 * time.Second

// Host is a port host under the storm.
type Host struct {
	// Name is its name in the table of promises, as pty or run.
	Name string
	// Fidelity is what it claims to carry.
	Fidelity uart.Fidelity
	// Telnetcpc is the path of the built program, Program that of the storm's programs, see Build.
	Telnetcpc, Program string
	// Starts is set if the agent starts the programs itself.
	Starts bool
	// Overtakes is set if a change may overtake bytes while none go out, and may arrive in parts: the kernel's driver has a
	// FIFO of its own, and no change waits for it.
	Overtakes bool
	// Start returns the command line of an agent for a port at path. as is another path of the port, for hosts with --as.
	// program is what the agent starts, if Starts is set.
	Start func(path, as, url string, flags, program []string) []string
}

// Attach returns Host.Start for a host of `telnetcpc attach`.
func Attach(host string) func(path, as, url string, flags, program []string) []string {
	return func(path, _, url string, flags, _ []string) []string {
		return append(append([]string{"attach", "--host", host}, flags...), path, url)
	}
}

//go:embed testdata
var sources embed.FS

// Build compiles the programs of the storm into a directory. They are linked statically, to run on any kernel and root.
func Build(dir string) (program string, err error) {
	files, err := fs.Glob(sources, "testdata/*")
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, "storm")
	args := []string{"-O1", "-static", "-pthread", "-o", program}
	for _, name := range files {
		text, err := sources.ReadFile(name)
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return "", err
		}
		if filepath.Ext(file) == ".c" {
			args = append(args, file)
		}
	}
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w\n%s", err, out)
	}
	return program, nil
}

// Check returns why the storm cannot run here; nil if it can. A container may have no ptys of its own.
func Check() error {
	if _, err := exec.LookPath("gcc"); err != nil {
		return fmt.Errorf("%w (Debian's packages: gcc, libc6-dev; scripts/test installs them)", err)
	}
	d, err := newDecoy()
	if err != nil {
		return err
	}
	d.close()
	return nil
}

// length returns how long a storm lasts.
func length(t *testing.T) time.Duration {
	switch text := os.Getenv("TELNETCPC_STORM_TIME"); {
	case text != "":
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("TELNETCPC_STORM_TIME: %v", err)
		}
		return d
	case os.Getenv("CI") != "":
		return time.Minute
	case testing.Short():
		return 3 * time.Second
	}
	return 12 * time.Second
}

// roundMost is how long the storm of one agent lasts at most.
const roundMost = 12 * time.Second

// Run runs the storm at a host. The package comment has its environment variables.
func Run(t *testing.T, h Host) {
	l := newLedger(t, h.Name)
	defer func() { t.Log(l.sum()) }()
	lasts := length(t)
	if text := os.Getenv("TELNETCPC_STORM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("TELNETCPC_STORM_SEED: %v", err)
		}
		oneRound(t, h, l, seed, min(lasts, roundMost))
		return
	}
	seed := uint64(time.Now().Unix())
	rounds := 0
	for end := time.Now().Add(lasts); rounds == 0 || time.Until(end) > time.Second; rounds++ {
		// The last round is not much shorter than the others.
		oneRound(t, h, l, seed+uint64(rounds), min(roundMost, max(time.Until(end), 3*time.Second)))
	}
	t.Logf("%d rounds, first seed %d", rounds, seed)
}

// twin links or copies a program to another name, by which its processes can be found.
func twin(file, name string) error {
	err := os.Link(file, name)
	if err == nil || !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EPERM) {
		return err
	}
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
