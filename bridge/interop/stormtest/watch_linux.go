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

// watch checks during the whole round that nothing hangs and nothing arrives where it must not. It ends with ctx.
func (r *round) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var at int64
	for {
		at = r.journal.read(at)
		r.checkFaults()
		if c, since := r.journal.longest(); since > patience {
			r.ledger.breach(r.seed, callsReturn, "%s %v of %d has not returned in %v; it waits in %s", c.name, c.args, c.pid, since.Round(time.Second), where(c.pid))
			r.breaks()
		}
		if pid, since := r.crowd.stuck(); since > patience {
			r.ledger.breach(r.seed, killedDie, "%d still exists %v after SIGKILL; it waits in %s", pid, since.Round(time.Second), where(pid))
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
			r.checkFaults()
			return
		case <-tick.C:
		}
	}
}

// checkFaults reports the faults that programs, strangers, the decoy and the agent have found as breaches.
func (r *round) checkFaults() {
	for _, text := range r.journal.takeFaults() {
		switch {
		case strings.Contains(text, "stranger"):
			r.ledger.breach(r.seed, noStranger, "%s", text)
		case strings.HasPrefix(text, "decoy"):
			r.ledger.breach(r.seed, noDecoy, "a program opened the decoy by %s", strings.TrimPrefix(text, "decoy "))
		default:
			r.ledger.breach(r.seed, ownDescriptor, "%s", text)
		}
	}
	if text := r.decoy.touched(); text != "" {
		r.ledger.breach(r.seed, noDecoy, "%s", text)
	}
	if log := r.agent.output(); strings.Contains(log, "WARNING: DATA RACE") || strings.Contains(log, "panic:") || strings.Contains(log, "fatal error:") {
		if !r.ledger.any(noRace) {
			r.ledger.breach(r.seed, noRace, "the end of its log:\n%s", lastOf(log))
		}
	}
}

// lastOf returns the last lines of a text.
func lastOf(text string) string {
	lines := slices.Collect(strings.Lines(text))
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// checkReturned checks that the calls that were pending when the agent was asked to end return, before the programs are killed.
func (r *round) checkReturned() {
	for end := time.Now().Add(patience); r.broken.Err() == nil; time.Sleep(10 * time.Millisecond) {
		c, since := r.journal.longest()
		if c == nil || c.begin > r.signalAt {
			return
		}
		if time.Now().After(end) {
			r.ledger.breach(r.seed, callsReturn, "%s %v of %d has not returned in %v since the agent's end; it waits in %s", c.name, c.args, c.pid, since.Round(time.Second), where(c.pid))
			return
		}
	}
}

// checkLeftovers checks that no link, lock file or process is left when all have ended.
func (r *round) checkLeftovers() {
	if !r.agent.within(patience) {
		r.ledger.breach(r.seed, agentEnds, "it has not ended %v after its programs", patience)
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
			} else if n.Name() != filepath.Base(r.port) { // a shell's > may have created that one while there was no port
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
