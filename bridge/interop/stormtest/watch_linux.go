package stormtest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watch looks, all through the round, whether something hangs, or is where it must not be.
func (r *round) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var at int64
	for {
		at = r.journal.read(at)
		r.complain()
		if c, since := r.journal.standing(); since > patience {
			r.ledger.breach(r.seed, callsReturn, "%s %v of %d has not returned in %v; it waits in %s", c.name, c.args, c.pid, since.Round(time.Second), where(c.pid))
			r.breaks()
		}
		if pid, since := r.crowd.stuck(); since > patience {
			r.ledger.breach(r.seed, killedDie, "%d is there %v after SIGKILL, and waits in %s", pid, since.Round(time.Second), where(pid))
			r.breaks()
		}
		r.mu.Lock()
		ending := r.ending
		r.mu.Unlock()
		if r.agent.ended() && !ending {
			r.ledger.breach(r.seed, noRace, "the agent has ended: %v", r.agent.err)
			r.breaks()
		}
		select {
		case <-ctx.Done():
			r.journal.read(at)
			r.complain()
			return
		case <-tick.C:
		}
	}
}

// complain hands on what programs, strangers and the decoy have noticed.
func (r *round) complain() {
	for _, text := range r.journal.complaints() {
		switch {
		case strings.Contains(text, "stranger"):
			r.ledger.breach(r.seed, noStranger, "%s", text)
		case strings.HasPrefix(text, "decoy"):
			r.ledger.breach(r.seed, noDecoy, "a program has opened it by %s", strings.TrimPrefix(text, "decoy "))
		default:
			r.ledger.breach(r.seed, ownDescriptor, "%s", text)
		}
	}
	if text := r.decoy.touched(); text != "" {
		r.ledger.breach(r.seed, noDecoy, "%s", text)
	}
	if said := r.agent.said(); strings.Contains(said, "WARNING: DATA RACE") || strings.Contains(said, "panic:") || strings.Contains(said, "fatal error:") {
		if !r.ledger.any(noRace) {
			r.ledger.breach(r.seed, noRace, "it said:\n%s", lastOf(said))
		}
	}
}

// lastOf is the end of a text.
func lastOf(text string) string {
	lines := slices.Collect(strings.Lines(text))
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// released: what programs had called when the agent was told to end has returned, before anybody kills them.
func (r *round) released() {
	for end := time.Now().Add(patience); r.broken.Err() == nil; time.Sleep(10 * time.Millisecond) {
		c, since := r.journal.standing()
		if c == nil || c.begin > r.signalAt {
			return
		}
		if time.Now().After(end) {
			r.ledger.breach(r.seed, callsReturn, "%s %v of %d has not returned in %v, since the agent's end; it waits in %s", c.name, c.args, c.pid, since.Round(time.Second), where(c.pid))
			return
		}
	}
}

// left looks at what is left when all have ended.
func (r *round) left() {
	if !r.agent.within(patience) {
		r.ledger.breach(r.seed, agentEnds, "not in %v after its programs", patience)
		_ = r.agent.Process.Signal(unix.SIGQUIT)
		r.agent.within(patience)
	}
	_ = r.agent.Process.Kill()
	_ = r.strangers.Process.Kill()
	<-r.agent.done
	entries := func() (links, others []string) {
		names, _ := os.ReadDir(filepath.Join(r.dir, "dev"))
		for _, n := range names {
			if n.Type()&os.ModeSymlink != 0 {
				to, _ := os.Readlink(filepath.Join(r.dir, "dev", n.Name()))
				links = append(links, n.Name()+" -> "+to)
			} else if n.Name() != filepath.Base(r.port) { // that one a shell has made by its >, when there was no port
				others = append(others, n.Name())
			}
		}
		return links, others
	}
	var links, others []string
	var processes map[int]string
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		links, others = entries()
		processes = processesOf(r.telnetcpc)
		if len(links)+len(others)+len(processes) == 0 || time.Now().After(end) {
			break
		}
	}
	if len(links) > 0 {
		r.ledger.breach(r.seed, noLink, "%v", links)
	}
	if len(others) > 0 {
		r.ledger.breach(r.seed, noLockFile, "%v", others)
	}
	for pid, line := range processes {
		r.ledger.breach(r.seed, noProcess, "%d: %s", pid, line)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
