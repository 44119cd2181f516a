package serialport_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/serialport"
)

// living starts a process that runs until the test ends.
func living(t *testing.T) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// dead returns the id of a process that has ended.
func dead(t *testing.T) (pid int) {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// locks returns the files in a directory with their contents.
func locks(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

// The lock files exist while the port is open, in the format that other programs read.
func TestLocks(t *testing.T) {
	p := devicetest.NewPlug(t)
	device, err := filepath.EvalSymlinks(p.Name)
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{t.TempDir(), t.TempDir()}
	port := (&serialport.Port{Path: p.Name}).LockIn(dirs...)
	for range 2 {
		d, err := port.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			got := locks(t, dir)
			want := map[string]string{}
			for _, name := range []string{"pts_" + filepath.Base(device), filepath.Base(device), strings.ReplaceAll(p.Name, "/", "_")} {
				want["LCK.."+name] = fmt.Sprintf("%10d\n", os.Getpid())
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("locks: got %q, want %q", got, want)
			}
		}
		if _, err := port.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by another program") {
			t.Errorf("opened twice: %v", err)
		}
		if len(locks(t, dirs[0])) != 3 {
			t.Errorf("a refused client has removed locks: %q", locks(t, dirs[0]))
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			if left := locks(t, dir); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		}
	}
}

func TestLockNames(t *testing.T) {
	dir, err := os.MkdirTemp("/dev", "telnetcpc-test")
	if err != nil {
		t.Skipf("no directory in /dev: %v", err)
	}
	defer os.RemoveAll(dir)
	link := filepath.Join(dir, "usb-FTDI")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "ttyUSB0")
	if err := os.Symlink("/dev/null", elsewhere); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/dev/null":  {"null"},
		"/dev//null": {"null"},
		link:         {"null", filepath.Base(dir) + "_usb-FTDI", "usb-FTDI"},
		elsewhere:    {"null", strings.ReplaceAll(elsewhere, "/", "_")},
	} {
		if got := serialport.LockNames(path); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// Which files count as locks, and which are stale.
func TestLocked(t *testing.T) {
	alive, gone := living(t), dead(t)
	binaryPID := func(pid int) string { return string(binary.NativeEndian.AppendUint32(nil, uint32(pid))) }
	for _, tt := range []struct {
		name, text string
		age        time.Duration
		want       string // the error; empty: the file is stale
	}{
		{"of a living process", fmt.Sprintf("%10d\n", alive), 0, fmt.Sprintf("in use by another program: sleep, process %d (", alive)},
		{"without the spaces", fmt.Sprintf("%d minicom root\n", alive), time.Hour, fmt.Sprintf("in use by another program: sleep, process %d (", alive)},
		{"binary", binaryPID(alive), 0, fmt.Sprintf("in use by another program: sleep, process %d (", alive)},
		{"of a dead process", fmt.Sprintf("%10d\n", gone), 0, ""},
		{"binary of a dead process", binaryPID(gone), 0, ""},
		{"of a dead process with our id", fmt.Sprintf("%10d\n", os.Getpid()), 0, ""},
		{"of nobody", "         0\n", 0, ""},
		{"being written", "", 0, "in use by another program ("},
		{"never written", "", time.Hour, ""},
		{"nonsense", "a lock", time.Hour, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := devicetest.NewPlug(t)
			dir := t.TempDir()
			file := filepath.Join(dir, "LCK..pts_"+filepath.Base(realpath(t, p.Name)))
			if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			then := time.Now().Add(-tt.age)
			if err := os.Chtimes(file, then, then); err != nil {
				t.Fatal(err)
			}
			d, err := (&serialport.Port{Path: p.Name}).LockIn(dir).Open(t.Context())
			if err == nil {
				_ = d.Close()
			}
			if tt.want == "" {
				if left := locks(t, dir); err != nil || len(left) > 0 {
					t.Errorf("got %v, left %q; want it opened, nothing left", err, left)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), "open "+p.Name+": "+tt.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if got := locks(t, dir); len(got) != 1 || got[filepath.Base(file)] != tt.text {
				t.Errorf("locks are now %q", got)
			}
		})
	}
}

func realpath(t *testing.T, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

// If no lock can be made the port opens all the same, and a debug message reports it once.
func TestLockDirectory(t *testing.T) {
	p := devicetest.NewPlug(t)
	var log bytes.Buffer
	dir := filepath.Join(t.TempDir(), "missing")
	port := (&serialport.Port{Path: p.Name, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}).LockIn(dir)
	for range 2 {
		d, err := port.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = d.Close()
	}
	if n := strings.Count(log.String(), "level=DEBUG"); n != 1 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("%d debug messages, want 1:\n%s", n, &log)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", dir, err)
	}
}

// In a directory that this user can only read, other programs' locks count.
func TestLockReadOnly(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run as a user without permission")
	}
	p := devicetest.NewPlug(t)
	real := realpath(t, p.Name)
	if err := os.Chmod(real, 0o666); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "locks")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	open := func() error {
		d, err := (&serialport.Port{Path: real}).LockIn(dir).Open(t.Context())
		if err == nil {
			_ = d.Close()
		}
		return err
	}
	if err := asNobody(t, open); err != nil {
		t.Errorf("without a lock: %v", err)
	}
	file := filepath.Join(dir, "LCK..pts_"+filepath.Base(real))
	for pid, wantErr := range map[int]bool{dead(t): false, living(t): true} {
		if err := os.WriteFile(file, fmt.Appendf(nil, "%10d\n", pid), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := asNobody(t, open); (err != nil) != wantErr {
			t.Errorf("with a lock of process %d: %v", pid, err)
		}
	}
}
