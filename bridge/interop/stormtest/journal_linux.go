package stormtest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// call is what a program has called, or what somebody else's program did as a whole. Times are CLOCK_MONOTONIC.
type call struct {
	pid, tid   int
	open       uint32 // which open of which program; see testdata/program.c
	name       string
	args       []string
	begin, end int64 // end 0: it has not returned
	returned   int64
	errno      unix.Errno
	died       bool // its program was gone before it returned: end is when that was seen at the latest
}

// wide reports whether nobody knows what it has set.
func (c *call) wide() bool { return c.name == "foreign" }

// echo is one that a program has read.
type echo struct {
	at   int64
	by   uint32 // the open that it was read by
	open uint32 // the record that it answers
	seq  uint32
}

// journal is what the programs noted, as far as it was read.
type journal struct {
	file *os.File

	mu      sync.Mutex // over all below
	rest    []byte
	calls   []*call
	pending map[int]*call // by thread
	echoes  []echo
	said    []string         // what programs and strangers complain of, and nobody has taken yet
	leaders map[int]bool     // processes whose end hangs the port up
	ends    map[int]int64    // of processes
	grace   map[int]int64    // processes that were stopped: when they went on; 0: they have not
	lived   map[int]struct{} // every process that noted something
}

func newJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: f, pending: map[int]*call{}, leaders: map[int]bool{}, ends: map[int]int64{},
		grace: map[int]int64{}, lived: map[int]struct{}{}}, nil
}

// read takes what is new. One caller.
func (j *journal) read(at int64) int64 {
	buf := make([]byte, 1<<20)
	for {
		n, err := j.file.ReadAt(buf, at)
		at += int64(n)
		j.mu.Lock()
		j.rest = append(j.rest, buf[:n]...)
		for {
			line, rest, whole := bytes.Cut(j.rest, []byte{'\n'})
			if !whole {
				break
			}
			j.line(string(line))
			j.rest = rest
		}
		j.mu.Unlock()
		if n == 0 || err != nil && !errors.Is(err, io.EOF) {
			return at
		}
	}
}

// line takes one line; the lock is held.
func (j *journal) line(text string) {
	f := strings.Fields(text)
	if len(f) < 6 {
		return
	}
	at, _ := strconv.ParseInt(f[1], 10, 64)
	pid, _ := strconv.Atoi(f[2])
	tid, _ := strconv.Atoi(f[3])
	hex := func(s string) uint32 {
		n, _ := strconv.ParseUint(s, 16, 32)
		return uint32(n)
	}
	switch f[0] {
	case "S":
		delete(j.pending, tid)
		delete(j.ends, pid) // of an earlier one
		j.lived[pid] = struct{}{}
	case "B":
		c := &call{pid: pid, tid: tid, open: hex(f[5]), name: f[6], args: f[7:], begin: at}
		j.calls = append(j.calls, c)
		j.pending[tid] = c
	case "E":
		if c := j.pending[tid]; c != nil && len(f) >= 9 && c.name == f[6] {
			c.end = at
			c.returned, _ = strconv.ParseInt(f[7], 10, 64)
			n, _ := strconv.Atoi(f[8])
			c.errno = unix.Errno(n)
		}
		delete(j.pending, tid)
	case "R":
		if len(f) >= 8 {
			j.echoes = append(j.echoes, echo{at, hex(f[5]), hex(f[6]), hex(f[7])})
		}
	case "L":
		j.leaders[pid] = true
	case "X":
		j.said = append(j.said, strings.Join(f[5:], " "))
	}
}

// died notes the end of a process.
func (j *journal) died(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gone(pid)
}

func (j *journal) gone(pid int) {
	j.ends[pid] = nanos()
	for tid, c := range j.pending {
		if c.pid == pid {
			c.end, c.died, c.returned = nanos(), true, -1
			delete(j.pending, tid)
		}
	}
}

// stopped and continued say what SIGSTOP and SIGCONT did to a process: the time between is not its calls'.
func (j *journal) stopped(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.grace[pid] = 0
}

func (j *journal) continued(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.grace[pid] = nanos()
}

// add notes what a program did that keeps no journal; its end is to be set under the lock.
func (j *journal) add(c *call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, c)
}

// standing is the call that waits longest, and for how long, among the processes that run. Those whose process is gone, as
// its parent has reaped it, have ended.
func (j *journal) standing() (longest *call, since time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.pending {
		if unix.Kill(c.pid, 0) == unix.ESRCH || zombie(c.pid) {
			j.gone(c.pid)
			continue
		}
		from := c.begin
		if at, ok := j.grace[c.pid]; ok {
			if at == 0 {
				continue
			}
			from = max(from, at)
		}
		if age := time.Duration(nanos() - from); age > since {
			copied := *c
			longest, since = &copied, age
		}
	}
	return longest, since
}

// zombie reports whether a process has ended and waits for its parent.
func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, behind, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(behind, "Z") || strings.HasPrefix(behind, "X")
}

// complaints takes what was said since the last time.
func (j *journal) complaints() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	said := j.said
	j.said = nil
	return said
}
