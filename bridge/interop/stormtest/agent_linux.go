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

// process is a program that the test itself has started; it is dead when the test ends.
type process struct {
	*exec.Cmd
	log  string        // the file that has what it said
	done chan struct{} // closed when it has ended
	err  error         // of Wait; read after done
}

// start starts a program whose standard error goes to a file. Extra files are for what it starts.
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

func (p *process) said() string {
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

// within reports whether the program ends in a time.
func (p *process) within(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(d):
		return false
	}
}

// gauge is what an agent takes of the machine.
type gauge struct {
	files, memory, threads int            // memory in KiB
	open                   map[string]int // what the descriptors are, and how many of each kind
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

// more is of what there are more descriptors in a later gauge.
func (g gauge) more(later gauge) (text string) {
	for _, to := range slices.Sorted(maps.Keys(later.open)) {
		if n := later.open[to] - g.open[to]; n > 0 {
			text += fmt.Sprintf(" %d %s", n, to)
		}
	}
	return text
}

// settled is the gauge when the agent has nothing to do: the middle one of many, with the descriptors that it has most of
// the time. Some it closes a second after they were used, some it opens again all the time.
func settled(pid int) gauge {
	var all []gauge
	time.Sleep(1200 * time.Millisecond) // not for something to happen: it has happened, and its timers end
	for range 25 {
		all = append(all, gaugeOf(pid))
		time.Sleep(10 * time.Millisecond)
	}
	slices.SortFunc(all, func(a, b gauge) int { return a.files - b.files })
	return all[len(all)/2]
}

// processesOf are those that run a program, by their command lines.
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

// decoy is a terminal at a path that stands for the port: what is there without it.
type decoy struct {
	master *os.File
	slave  *os.File
	name   string
	number uint64 // of its device
	as     unix.Termios
}

// newDecoy makes one. Nobody but the test may have it open.
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
			d.as = *t
			err = unix.IoctlSetTermios(int(d.slave.Fd()), unix.TCSETS2, t)
		}
	}
	if err != nil {
		_ = d.master.Close()
		return nil, fmt.Errorf("a pty: %w", err)
	}
	return d, nil
}

// touched says what somebody did to it; empty: nothing.
func (d *decoy) touched() string {
	buf := make([]byte, 4096)
	n, err := unix.Read(int(d.master.Fd()), buf)
	if n > 0 {
		return fmt.Sprintf("it was written %q", buf[:min(n, 60)])
	}
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		return "read it: " + err.Error()
	}
	t, err := unix.IoctlGetTermios(int(d.slave.Fd()), unix.TCGETS2)
	if err == nil && (t.Cflag != d.as.Cflag || t.Ospeed != d.as.Ospeed || t.Lflag != d.as.Lflag) {
		d.as = *t
		return "it was set to another termios"
	}
	return ""
}

func (d *decoy) close() {
	_ = d.slave.Close()
	_ = d.master.Close()
}
