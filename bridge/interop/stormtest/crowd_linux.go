package stormtest

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// crowd is the programs of a round. The director starts and reaps them all.
type crowd struct {
	*round
	orders io.WriteCloser // to the director
	ready  chan struct{}  // closed when the director runs
	pid    int            // the director's; valid after ready is closed

	mu      sync.Mutex // guards the fields below
	random  *rand.Rand
	last    uint32           // the last program's number
	alive   map[int]*member  // by pid
	waiting map[uint32]*call // ordered programs that are not started yet, by number; nil if not foreign
	killed  map[int]int64    // when SIGKILL was sent, of processes that have not ended
}

// member is a program.
type member struct {
	number  uint32
	foreign *call // its whole run; nil if it keeps a journal
}

// programsMost is how many programs run at once.
const programsMost = 7

func newCrowd(r *round, orders io.WriteCloser, reports io.Reader) *crowd {
	c := &crowd{round: r, orders: orders, ready: make(chan struct{}), random: rand.New(rand.NewPCG(r.seed, 3)),
		alive: map[int]*member{}, waiting: map[uint32]*call{}, killed: map[int]int64{}}
	go c.listen(reports)
	return c
}

// listen reads the director's reports. newCrowd starts it; it ends when all processes with the director's output have
// ended.
func (c *crowd) listen(reports io.Reader) {
	lines := bufio.NewScanner(reports)
	for lines.Scan() {
		var word string
		var first, second int
		if n, _ := fmt.Sscan(lines.Text(), &word, &first, &second); n != 3 {
			continue
		}
		switch word {
		case "ready":
			c.pid = first
			close(c.ready)
		case "started":
			c.mu.Lock()
			number := uint32(first)
			c.alive[second] = &member{number, c.waiting[number]}
			delete(c.waiting, number)
			c.mu.Unlock()
		case "ended":
			c.mu.Lock()
			m := c.alive[first]
			delete(c.alive, first)
			delete(c.killed, first)
			c.mu.Unlock()
			c.journal.died(first)
			if m != nil && m.foreign != nil {
				c.journal.mu.Lock()
				m.foreign.end, m.foreign.died = nanos(), second != 0
				c.journal.mu.Unlock()
			}
		}
	}
}

// order sends the director an order. The caller holds the lock.
func (c *crowd) order(number uint32, words ...string) {
	if _, err := fmt.Fprintf(c.orders, "%d\t%s\n", number, strings.Join(words, "\t")); err != nil {
		delete(c.waiting, number) // the director takes no more orders: the storm ends
	}
}

// live starts, stops and kills programs until the context ends.
func (c *crowd) live(ctx context.Context) {
	most, turn := programsMost, 0
	if c.slow {
		most = 2
	}
	limit := most
	for ctx.Err() == nil {
		c.mu.Lock()
		if turn++; turn%20 == 0 { // now and then a program is alone, so that the port is closed before the next one
			limit = 1 + c.random.IntN(most)
		}
		if len(c.alive)+len(c.waiting) < limit {
			c.startNext()
		} else {
			c.trouble(ctx)
		}
		pause := time.Duration(5+c.random.IntN(60)) * time.Millisecond
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Flags of testdata/program.c.
const (
	mayPurge = 1 << iota
	isShy
	leads
	knocks
	isSlow
)

// startNext orders another program. The caller holds the lock.
func (c *crowd) startNext() {
	c.last += 16
	number := c.last
	if c.random.IntN(6) == 0 {
		if words, f := c.foreign(number); words != nil {
			c.waiting[number] = f
			c.journal.add(f)
			c.order(number, words...)
			return
		}
	}
	flags := 0
	if c.purges {
		flags |= mayPurge
		if c.random.IntN(3) == 0 {
			flags |= leads
		}
	}
	if c.slow {
		flags |= isSlow | isShy
	} else if c.random.IntN(2) == 0 {
		flags |= isShy
	}
	if c.random.IntN(4) == 0 {
		flags |= knocks
	}
	c.waiting[number] = nil
	c.order(number, append([]string{c.program, "program", fmt.Sprintf("%x", number), fmt.Sprint(c.random.Uint32()),
		fmt.Sprint(20 + c.random.IntN(150)), fmt.Sprint(flags)}, c.paths...)...)
}

// record returns a record as programs write it, see testdata/record.c.
func record(open, seq uint32, payload string) string {
	text := fmt.Sprintf("[%08x.%06x.%04x:%s", open, seq, len(payload), payload)
	return fmt.Sprintf("%s#%08x]", text, crc32.ChecksumIEEE([]byte(text)))
}

const pySerial = `
import serial, sys
p = serial.Serial(sys.argv[1], int(sys.argv[2]), timeout=0.1, write_timeout=10)
p.write(sys.argv[3].encode() + b"\n")
p.read(20)
p.close()`

// foreign returns the command line of a program that is not ours, and the call that records its run. The caller
// holds the lock.
func (c *crowd) foreign(number uint32) ([]string, *call) {
	open := number << 8
	path := c.paths[c.random.IntN(len(c.paths))]
	f := &call{open: open, name: "foreign", begin: nanos()}
	baud := []string{"57600", "115200", "230400"}[c.random.IntN(3)]
	text := record(open, 1, strings.Repeat("abc", c.random.IntN(10)))
	switch c.random.IntN(4) {
	case 0:
		f.args = []string{"stty"}
		return []string{"stty", "-F", path, baud, "raw", "-echo", "clocal"}, f
	case 1:
		f.args = []string{"sh", fmt.Sprint(len(text) + 1)}
		return []string{"sh", "-c", `test -c "$0" && printf '%s\n' "$1" > "$0"`, path, text}, f
	case 2:
		f.args = []string{"sh", fmt.Sprint(len(text) + 1)}
		return []string{"sh", "-c", `test -c "$0" && exec 3<>"$0" || exit; stty -F "$0" raw; printf '%s\n' "$1" >&3; exec 4>&3 3>&-; stty ` + baud + ` <&4`, path, text}, f
	}
	if _, err := os.Stat("/usr/lib/python3/dist-packages/serial"); err != nil {
		return nil, nil
	}
	f.args = []string{"python", fmt.Sprint(len(text) + 1)}
	return []string{"/usr/bin/python3", "-c", pySerial, path, baud, text}, f
}

// trouble kills, ends or stops a program. The caller holds the lock.
func (c *crowd) trouble(ctx context.Context) {
	pids := make([]int, 0, len(c.alive))
	for pid := range c.alive {
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		return
	}
	pid := pids[c.random.IntN(len(pids))]
	switch c.random.IntN(8) {
	case 0, 1:
		c.kill(pid)
	case 2:
		_ = unix.Kill(c.target(pid), unix.SIGTERM)
	case 3, 4:
		c.journal.stopped(pid)
		if unix.Kill(pid, unix.SIGSTOP) != nil {
			return
		}
		rest := time.Duration(c.random.IntN(400)) * time.Millisecond
		c.all.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(rest):
			}
			_ = unix.Kill(pid, unix.SIGCONT) // it may have ended; its pid is not in use again so soon
			c.journal.continued(pid)
		})
	}
}

// kill kills a program. The caller holds the lock.
func (c *crowd) kill(pid int) {
	if _, sent := c.killed[pid]; !sent {
		c.killed[pid] = nanos()
	}
	_ = unix.Kill(c.target(pid), unix.SIGKILL)
}

// target returns what a signal goes to. A foreign program gets it as a process group, so that none of its children survives
// unseen. The caller holds the lock.
func (c *crowd) target(pid int) int {
	if m := c.alive[pid]; m != nil && m.foreign != nil {
		return -pid
	}
	return pid
}

// stuck returns the program that was killed longest ago and still exists.
func (c *crowd) stuck() (pid int, since time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, at := range c.killed {
		if age := time.Duration(nanos() - at); age > since {
			pid, since = p, age
		}
	}
	return pid, since
}

// killAll kills all programs, also those that the director did not report, and reports whether they ended in time.
func (c *crowd) killAll() bool {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left := processesOf(c.program)
		delete(left, c.pid)
		delete(left, c.strangers.Process.Pid)
		for pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		c.mu.Lock()
		for pid := range c.alive {
			c.kill(pid)
		}
		n := len(c.alive) + len(c.waiting)
		c.mu.Unlock()
		if n == 0 && len(left) == 0 {
			return true
		}
		if time.Now().After(end) {
			for pid, line := range left {
				c.ledger.breach(c.seed, killedDie, "%d (%s) is in %s", pid, line, where(pid))
			}
			return false
		}
	}
}

// where returns what each thread of a process is waiting in.
func where(pid int) string {
	var all []string
	names, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, n := range names {
		at, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/wchan", pid, n.Name()))
		call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, n.Name()))
		all = append(all, fmt.Sprintf("%s (%s)", at, strings.TrimSpace(string(call))))
	}
	return strings.Join(all, ", ")
}
