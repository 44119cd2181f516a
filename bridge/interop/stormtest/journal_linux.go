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

// call is one call of a program, or the whole run of a foreign program, which keeps no journal. Times are CLOCK_MONOTONIC.
type call struct {
	pid, tid   int
	open       uint32 // which open of which program, see testdata/program.c
	name       string
	args       []string
	begin, end int64 // end is 0 until it returns
	returned   int64
	errno      unix.Errno
	died       bool // its program ended before it returned; end is when that was seen
}

// isForeign reports whether it is a foreign program: what it set, and when, is unknown.
func (c *call) isForeign() bool { return c.name == "foreign" }

// echo is an echo that a program read.
type echo struct {
	at   int64
	by   uint32 // the open through which it was read
	open uint32 // open and seq: the record that was echoed
	seq  uint32
}

// journal holds what the programs recorded, as far as it was read.
type journal struct {
	file *os.File

	mu      sync.Mutex // guards the fields below
	rest    []byte
	calls   []*call
	pending map[int]*call // by thread
	echoes  []echo
	faults  []string         // reported by programs and strangers, and not yet taken by takeFaults
	leaders map[int]bool     // session leaders: their end hangs up the port
	ends    map[int]int64    // when processes ended
	grace   map[int]int64    // processes that were stopped: when they continued, 0 until then
	lived   map[int]struct{} // every process that recorded something
}

func newJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: f, pending: map[int]*call{}, leaders: map[int]bool{}, ends: map[int]int64{},
		grace: map[int]int64{}, lived: map[int]struct{}{}}, nil
}

// read reads what was appended since offset at and returns the new offset. Only watch calls it.
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

// line parses one line. The caller holds the lock.
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
		delete(j.ends, pid) // of an earlier process with this pid
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
		j.faults = append(j.faults, strings.Join(f[5:], " "))
	}
}

// died records the end of a process.
func (j *journal) died(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.endCalls(pid)
}

// endCalls ends the pending calls of a process that ended. The caller holds the lock.
func (j *journal) endCalls(pid int) {
	j.ends[pid] = nanos()
	for tid, c := range j.pending {
		if c.pid == pid {
			c.end, c.died, c.returned = nanos(), true, -1
			delete(j.pending, tid)
		}
	}
}

// stopped and continued record SIGSTOP and SIGCONT of a process: the time between does not count as time of its calls.
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

// add records the run of a foreign program. The caller sets its end later, under the lock.
func (j *journal) add(c *call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, c)
}

// longest returns the pending call that has waited longest, and for how long, among the processes that are not stopped. It
// ends the calls of processes that ended.
func (j *journal) longest() (oldest *call, since time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.pending {
		if unix.Kill(c.pid, 0) == unix.ESRCH || zombie(c.pid) {
			j.endCalls(c.pid)
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
			oldest, since = &copied, age
		}
	}
	return oldest, since
}

// zombie reports whether a process has ended; its parent may not have reaped it yet.
func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

// takeFaults returns the faults that were reported since the last call.
func (j *journal) takeFaults() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	faults := j.faults
	j.faults = nil
	return faults
}
