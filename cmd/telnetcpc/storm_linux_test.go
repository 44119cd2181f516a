package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stormTime returns how long a storm lasts; TELNETCPC_STORM=60s makes it longer.
func stormTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("TELNETCPC_STORM")
	if text == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("TELNETCPC_STORM: %v", err)
	}
	return d
}

// openTerminals opens and closes pseudo-terminals until done is closed, and counts those that the typist's text reaches: each
// gets the lowest free number, so first that of a killed agent. Text without the tag comes from other processes, for example
// from the same test of another checkout, and does not count.
func openTerminals(t *testing.T, tag string, done <-chan struct{}, made, reached *atomic.Int64) {
	for {
		select {
		case <-done:
			return
		default:
		}
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Error(err)
			return
		}
		raw, err := master.SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		_ = raw.Control(func(fd uintptr) {
			_ = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
			for range 20 { // a user reads what is typed
				var typed [64]byte
				n, _ := unix.Read(int(fd), typed[:])
				if n <= 0 {
					continue
				}
				number, _ := unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
				if !strings.Contains(string(typed[:n]), tag) {
					t.Logf("another process has written %q to /dev/pts/%d", typed[:n], number)
					break
				}
				t.Errorf("%q has reached /dev/pts/%d, another program's terminal", typed[:n], number)
				reached.Add(1)
				break
			}
		})
		made.Add(1)
		_ = master.Close()
	}
}

// typist writes to whatever the path leads to until done is closed.
func typist(path, tag string, done <-chan struct{}, typed *atomic.Int64) {
	for {
		select {
		case <-done:
			return
		default:
		}
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if n, _ := unix.Write(fd, []byte(tag+"\n")); n > 0 {
			typed.Add(1)
		}
		_ = unix.Close(fd)
	}
}

var readyAt = regexp.MustCompile(`msg="port ready" .* device=(/dev/pts/\d+)`)

// Agents are killed and started again at the same path, while one program writes to the path and another opens terminals.
// No byte reaches a terminal, every agent has its link, and the last one leaves none.
func TestStormOfKills(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	tag := fmt.Sprintf("%x", rand.Uint64())
	var made, reached, typed atomic.Int64
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { openTerminals(t, tag, done, &made, &reached) })
	all.Go(func() { typist(path, tag, done, &typed) })
	stop := sync.OnceFunc(func() { close(done); all.Wait() })
	defer stop()
	var parents []int
	kills := 0
	for end := time.Now().Add(stormTime(t)); time.Now().Before(end) && !t.Failed(); kills++ {
		cmd := telnetcpcCommand(hosted("pty", path)...)
		if kills%2 == 0 { // the next starts at once: the last watcher may still be cleaning up
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		}
		parents = append(parents[max(0, len(parents)-3):], killedAgent(t, cmd, path, time.Duration(kills%8)*time.Millisecond))
	}
	time.Sleep(20 * time.Millisecond) // now the last one's number may belong to another terminal too
	stop()
	t.Logf("%d kills, %d terminals made, %d times written to the path, %d terminals reached", kills, made.Load(), typed.Load(), reached.Load())
	for end := time.Now().Add(endPatience); ; time.Sleep(2 * time.Millisecond) {
		left, err := os.ReadDir(filepath.Dir(path))
		if err == nil && len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left: %v, %v", left, err)
		}
	}
	for _, p := range parents {
		for end := time.Now().Add(endPatience); len(watchersOf(p)) > 0; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a watcher is left")
			}
		}
	}
}

// killedAgent starts an agent, checks for a while that the link leads to its terminal, and kills it.
func killedAgent(t *testing.T, cmd *exec.Cmd, path string, life time.Duration) (pid int) {
	t.Helper()
	var output bytes.Buffer
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	defer func() {
		if strings.Contains(output.String(), "watcher process") {
			t.Errorf("the agent's output:\n%s", output.Bytes())
		}
	}()
	over := time.AfterFunc(endPatience, func() { _ = cmd.Process.Signal(unix.SIGQUIT) })
	defer over.Stop()
	for device := ""; device == ""; {
		var p [4096]byte
		n, err := log.Read(p[:])
		output.Write(p[:n])
		if m := readyAt.FindSubmatch(output.Bytes()); m != nil {
			device = string(m[1])
			check := time.Now().Add(life)
			for first := true; first || time.Now().Before(check); first = false {
				if to, err := filepath.EvalSymlinks(path); err != nil || to != device {
					t.Errorf("the path leads to %q, %v; want %s", to, err, device)
				}
			}
		}
		if errors.Is(err, io.EOF) && device == "" {
			t.Errorf("the agent has ended:\n%s", output.Bytes())
			return cmd.Process.Pid
		}
	}
	return cmd.Process.Pid
}
