package stormtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that the test started; it is dead when the test ends.
type process struct {
	*exec.Cmd
	log  string        // the file with its standard error
	done chan struct{} // closed when it has ended
	err  error         // of Wait; valid after done is closed
}

// start starts a program whose standard error goes to a file.
func (r *round) start(name string, cmd *exec.Cmd) *process {
	r.Helper()
	p := &process{Cmd: cmd, log: filepath.Join(r.dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		r.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "GOTRACEBACK=all", fmt.Sprint("STORM_DECOY=", r.decoy.number))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		r.Fatalf("start %s: %v", name, err)
	}
	go func() { // ends with the program
		p.err = cmd.Wait()
		close(p.done)
	}()
	r.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	return p
}

// output returns what it has written to standard error until now.
func (p *process) output() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// within waits for at most d and reports whether the program has ended.
func (p *process) within(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(d):
		return false
	}
}

// gauge is an agent's use of resources.
type gauge struct {
	files, memory, threads int            // memory in KiB
	open                   map[string]int // descriptors of each kind
}

func (g gauge) String() string {
	return fmt.Sprintf("%d descriptors, %d KiB, %d threads", g.files, g.memory, g.threads)
}

var statusLine = regexp.MustCompile(`(?m)^(VmRSS|Threads):\s+(\d+)`)

func gaugeOf(pid int) (g gauge) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, _ := os.ReadDir(dir)
	g.files, g.open = len(names), map[string]int{}
	for _, n := range names {
		to, _ := os.Readlink(filepath.Join(dir, n.Name()))
		to, _, _ = strings.Cut(to, ":[") // a socket's number
		g.open[to]++
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, m := range statusLine.FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(m[2]))
		if string(m[1]) == "VmRSS" {
			g.memory = n
		} else {
			g.threads = n
		}
	}
	return g
}

// grown lists the kinds of descriptors of which a later gauge has more.
func (g gauge) grown(later gauge) (text string) {
	for _, to := range slices.Sorted(maps.Keys(later.open)) {
		if n := later.open[to] - g.open[to]; n > 0 {
			text += fmt.Sprintf(" %d %s", n, to)
		}
	}
	return text
}

// settled returns the gauge of an idle agent: the median by descriptors of many. The agent closes some descriptors a second
// after use, and opens others again and again.
func settled(pid int) gauge {
	var all []gauge
	time.Sleep(1200 * time.Millisecond) // for the timers of an idle agent: no event shows their end
	for range 25 {
		all = append(all, gaugeOf(pid))
		time.Sleep(10 * time.Millisecond)
	}
	slices.SortFunc(all, func(a, b gauge) int { return a.files - b.files })
	return all[len(all)/2]
}

// processesOf returns the processes that run a program, with their command lines.
func processesOf(program string) (found map[int]string) {
	found = map[int]string{}
	names, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, name := range names {
		to, err := os.Readlink(name)
		pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
		if err != nil || to != program || zombie(pid) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		found[pid] = strings.TrimSpace(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return found
}

// decoy is a terminal at a path that the agent claims for the port: the device that programs would find without the agent.
type decoy struct {
	master *os.File
	slave  *os.File
	name   string
	number uint64 // of its device
	last   unix.Termios
}

// newDecoy makes a decoy. Only the test may open it.
func newDecoy() (*decoy, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/ptmx: %w", err)
	}
	d := &decoy{master: os.NewFile(uintptr(fd), "decoy")}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		d.name = fmt.Sprintf("/dev/pts/%d", n)
		d.slave, err = os.OpenFile(d.name, os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		var st unix.Stat_t
		_ = unix.Fstat(int(d.slave.Fd()), &st) // it is open
		d.number = st.Rdev
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(int(d.slave.Fd()), unix.TCGETS2); err == nil {
			t.Lflag, t.Iflag, t.Oflag = 0, 0, 0
			d.last = *t
			err = unix.IoctlSetTermios(int(d.slave.Fd()), unix.TCSETS2, t)
		}
	}
	if err != nil {
		_ = d.master.Close()
		return nil, fmt.Errorf("a pty: %w", err)
	}
	return d, nil
}

// touched returns what a program did to it since the last call; empty if nothing.
func (d *decoy) touched() string {
	buf := make([]byte, 4096)
	n, err := unix.Read(int(d.master.Fd()), buf)
	if n > 0 {
		return fmt.Sprintf("the decoy received %q", buf[:min(n, 60)])
	}
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		return "read the decoy: " + err.Error()
	}
	t, err := unix.IoctlGetTermios(int(d.slave.Fd()), unix.TCGETS2)
	if err == nil && (t.Cflag != d.last.Cflag || t.Ospeed != d.last.Ospeed || t.Lflag != d.last.Lflag) {
		d.last = *t
		return "the termios of the decoy was changed"
	}
	return ""
}

func (d *decoy) close() {
	_ = d.slave.Close()
	_ = d.master.Close()
}
