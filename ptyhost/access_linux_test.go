package ptyhost_test

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

func TestBadOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	for _, tt := range []struct {
		config uart.PortConfig
		want   string
	}{
		{uart.PortConfig{Owner: "nosuchuser"}, `owner "nosuchuser": unknown (want the name or the number of a user)`},
		{uart.PortConfig{Group: "nosuchgroup"}, `group "nosuchgroup": unknown (want the name or the number of a group)`},
		{uart.PortConfig{Owner: "-1"}, `owner "-1": unknown`},
	} {
		tt.config.Path = path
		_, err := open(t, tt.config)
		if want := "port " + path + ": " + tt.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	onlyThis(t, path)
}

// The link's target, owner, group and mode: the defaults, and what is configured.
func TestAccess(t *testing.T) {
	dialout := -1
	if groups, err := os.ReadFile("/etc/group"); err == nil && os.Geteuid() == 0 {
		for line := range strings.Lines(string(groups)) {
			if _, err := fmt.Sscanf(line, "dialout:x:%d:", &dialout); err == nil {
				break
			}
		}
	}
	for _, tt := range []struct {
		name     string
		config   uart.PortConfig
		uid, gid int // -1: not checked
		mode     fs.FileMode
		root     bool
	}{
		{"default", uart.PortConfig{}, os.Geteuid(), dialout, 0o660, false},
		{"mode", uart.PortConfig{Mode: 0o600}, os.Geteuid(), -1, 0o600, false},
		{"mode that excludes us too", uart.PortConfig{Mode: 0o004}, os.Geteuid(), -1, 0o004, false},
		{"numbers", uart.PortConfig{Owner: "65534", Group: "12345", Mode: 0o640}, 65534, 12345, 0o640, true},
		{"names", uart.PortConfig{Owner: "nobody", Group: "nogroup"}, 65534, 65534, 0o660, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root may give a port away")
			}
			tt.config.Path = filepath.Join(t.TempDir(), "ttyV0")
			p, err := open(t, tt.config)
			if err != nil {
				t.Fatal(err)
			}
			device, err := filepath.EvalSymlinks(tt.config.Path)
			if err != nil || device != p.Name() {
				t.Errorf("the path leads to %s, %v; want %s", device, err, p.Name())
			}
			var st unix.Stat_t
			if err := unix.Stat(tt.config.Path, &st); err != nil {
				t.Fatal(err)
			}
			if tt.uid >= 0 && int(st.Uid) != tt.uid || tt.gid >= 0 && int(st.Gid) != tt.gid || fs.FileMode(st.Mode).Perm() != tt.mode {
				t.Errorf("got owner %d, group %d, mode %o, want %d, %d, %o", st.Uid, st.Gid, st.Mode&0o7777, tt.uid, tt.gid, tt.mode)
			}
		})
	}
}

// A user without permission can never open the port, not even while it is made: a program that keeps trying finds no
// path, or is refused.
func TestForeignUser(t *testing.T) {
	if os.Getenv("PTYHOST_TRY") != "" {
		tryToOpen(os.Getenv("PTYHOST_TRY"))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("another user is needed, so root")
	}
	binary := publicBinary(t)
	path := filepath.Join(filepath.Dir(binary), "ttyV0")
	cmd := exec.Command(binary, "-test.run=^TestForeignUser$")
	cmd.Env = append(os.Environ(), "PTYHOST_TRY="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "trying" {
	}
	for range 100 {
		p, err := open(t, uart.PortConfig{Path: path})
		if err != nil {
			t.Error(err)
			break
		}
		_ = p.Close()
	}
	p, err := open(t, uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for lines.Scan() && lines.Text() != "refused" { // it must find this port, which stays open
	}
	_ = in.Close()
	output := lines.Text()
	for lines.Scan() {
		output += " " + lines.Text()
	}
	_ = cmd.Wait()
	if !strings.HasPrefix(output, "refused") || strings.Contains(output, "opened") {
		t.Errorf("the other user: %s", output)
	}
	_ = p.Close()
}

// tryToOpen tries to open a path until its standard input ends, and prints the results.
func tryToOpen(path string) {
	end := make(chan struct{})
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(end)
	}()
	fmt.Println("trying")
	refused := 0
	for {
		select {
		case <-end:
			return
		default:
		}
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			fmt.Println("opened")
			_ = unix.Close(fd)
		case unix.EACCES:
			if refused++; refused%1000 == 0 {
				fmt.Println("refused")
			}
		case unix.ENOENT:
		default:
			fmt.Println("refused by", err)
		}
	}
}

// asNobody runs one test of this binary without privileges.
func asNobody(t *testing.T, test string) {
	t.Helper()
	binary := publicBinary(t)
	cmd := exec.Command(binary, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "PTYHOST_AS_NOBODY=1", "TMPDIR=/tmp")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// publicBinary copies this binary to where every user may run it.
func publicBinary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ptyhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	name := filepath.Join(dir, "ptyhost.test")
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}
