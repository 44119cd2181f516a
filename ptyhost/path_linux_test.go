package ptyhost_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost"
)

// open makes a port at a path and closes it when the test ends.
func open(t *testing.T, config uart.PortConfig) (uart.Port, error) {
	t.Helper()
	p, err := ptyhost.New().Open(context.Background(), config)
	if err == nil {
		t.Cleanup(func() { _ = p.Close() })
	}
	return p, err
}

// refuses requires an error of one line that names the path and contains the words.
func refuses(t *testing.T, path string, words ...string) {
	t.Helper()
	_, err := open(t, uart.PortConfig{Path: path})
	if err == nil {
		t.Fatalf("a port at %s was made", path)
	}
	text := err.Error()
	if strings.Contains(text, "\n") || !strings.HasPrefix(text, "port "+path+": ") {
		t.Errorf("got error %q, want one line that begins with the port's path", text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("got error %q, want it to contain %q", text, w)
		}
	}
	t.Log(text)
}

// A path at which there is anything else is refused and left alone.
func TestForeignPath(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"file", func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) }, "a file is there already"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "a directory is there already"},
		{"socket", func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		}, "a file is there already"},
		{"device", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) }, "a device is there already"},
		{"link of socat to a terminal", func(p string) error { return os.Symlink("/dev/pts/4", p) }, `a link to "/dev/pts/4"`},
		{"link to nowhere", func(p string) error { return os.Symlink("/nowhere/./4", p) }, `a link to "/nowhere/./4"`},
		{"link with terminal controls", func(p string) error { return os.Symlink("\x1b[2J", p) }, `a link to "\x1b[2J"`},
		{"relative link", func(p string) error { return os.Symlink("./4", p) }, `a link to "./4"`},
		{"our kind of link, of another user", func(p string) error {
			if err := os.Symlink("/dev/pts/./4", p); err != nil {
				return err
			}
			return os.Lchown(p, 65534, 65534)
		}, "another user's telnetcpc serves this path, or has left its link there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ttyV0")
			if err := tt.make(path); errors.Is(err, fs.ErrPermission) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			refuses(t, path, tt.want, "(remove it, or choose another path)")
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("what was at the path is gone: %v", err)
			}
			onlyThis(t, path)
		})
	}
}

// onlyThis requires an otherwise empty directory: a refusal leaves nothing behind.
func onlyThis(t *testing.T, path string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestBadPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, "/nowhere/ttyV0", "directory /nowhere does not exist (make it, or choose another path)")
	refuses(t, filepath.Join(file, "ttyV0"), "is not a directory")
	refuses(t, "", "no path")
	lock := filepath.Join(dir, ".ttyV0.telnetcpc")
	if err := os.Symlink(file, lock); err != nil {
		t.Fatal(err)
	}
	refuses(t, filepath.Join(dir, "ttyV0"), "lock file "+lock+" is a link (remove it)")
}

// A directory to which this user may not write.
func TestUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		asNobody(t, "TestUnwritable")
		return
	}
	refuses(t, "/ttyV0", "directory / cannot be written by this user: permission denied (run as root, or choose a path in a directory of your own)")
	if os.Getenv("PTYHOST_AS_NOBODY") != "" {
		path := filepath.Join(t.TempDir(), "ttyV0")
		_, err := open(t, uart.PortConfig{Path: path, Owner: "root"})
		if err == nil || !strings.Contains(err.Error(), "only root may give a port away") {
			t.Errorf("a port for root: got %v", err)
		}
		onlyThis(t, path)
	}
}

// agentPath is the environment variable that makes the test binary an agent, which tests start and kill.
const agentPath = "PTYHOST_AGENT"

// agentProcess makes a port at path, prints its name, and closes it at the end of its input.
func agentProcess(path string) (status int) {
	p, err := ptyhost.New().Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("ready", p.Name())
	_, _ = os.Stdin.Read(make([]byte, 1))
	_ = p.Close()
	return 0
}

// agent starts a process that makes a port, and returns it with the pty's name.
func agent(t *testing.T, path string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), agentPath+"="+path)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			return cmd, name
		}
	}
	t.Fatal("the agent did not start")
	return nil, ""
}

// The path of a live agent is refused, with its pid. The link of a killed agent is replaced, also if its pty's number is
// another terminal's by now.
func TestKilledAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	cmd, _ := agent(t, path)
	refuses(t, path, fmt.Sprintf("another telnetcpc serves this port (pid %d) (stop it, or choose another path)", cmd.Process.Pid))

	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	link, err := os.Readlink(path)
	if err != nil {
		t.Fatalf("the killed agent has left no link: %v", err)
	}
	// Make terminals until one of them has the number, or another process's has it.
	for {
		if _, err := os.Stat(link); err == nil {
			break
		}
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
	}
	p, err := open(t, uart.PortConfig{Path: path})
	if err != nil {
		t.Fatalf("over the link of a killed agent: %v", err)
	}
	if device, err := filepath.EvalSymlinks(path); err != nil || device != p.Name() {
		t.Errorf("the path leads to %s, %v; want %s", device, err, p.Name())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	onlyThis(t, path)
	if _, err := os.Lstat(path); err == nil {
		t.Error("the path of the closed port is still there")
	}
}

// Of agents that start at the same moment over a dead one's link, one wins, and no other takes the path from it.
func TestRaceForPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	for range 50 {
		if err := os.Symlink("/dev/pts/./987654", path); err != nil {
			t.Fatal(err)
		}
		const agents = 4
		results := make(chan uart.Port, agents)
		for range agents {
			go func() {
				p, err := ptyhost.New().Open(context.Background(), uart.PortConfig{Path: path})
				if err != nil {
					p = nil
				}
				results <- p
			}()
		}
		var won []uart.Port
		for range agents {
			if p := <-results; p != nil {
				won = append(won, p)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d agents have the path, want 1", len(won))
		}
		if device, err := filepath.EvalSymlinks(path); err != nil || device != won[0].Name() {
			t.Errorf("the path leads to %s, %v; want %s", device, err, won[0].Name())
		}
		_ = won[0].Close()
	}
	onlyThis(t, path)
}

// A file that has replaced our link is not removed.
func TestReplacedLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	p, err := open(t, uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file that replaced our link is gone: %v", err)
	}
	onlyThis(t, path)
}

// A retired path can be taken by the next port; closing the first one does not remove the second one's link.
func TestRetiredPathIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	first, err := open(t, uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Retire(); err != nil {
		t.Fatal(err)
	}
	second, err := open(t, uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if device, err := filepath.EvalSymlinks(path); err != nil || device != second.Name() {
		t.Errorf("the path leads to %s, %v; want %s", device, err, second.Name())
	}
}
