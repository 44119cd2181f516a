package stormtest

import (
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"telnetcpc/bridge/uart"
)

// What reached the device against what the programs did. Nobody runs any more.

// written is a record that somebody wrote, and what came of it.
type written struct {
	*call
	open, seq uint32
	size, got int // bytes it has; that the kernel took
	arrived   int // whole, that is
	heads     int // bytes of it that arrived without its end
}

// key names a record.
type key struct{ open, seq uint32 }

// verdict is what is known of a round.
type verdict struct {
	*round
	records map[key]*written
	shorts  []*written // of which not all was taken
	cuts    []span     // purges and hangups: what was under way then may be cut
	visits  []span     // of all opens
	coding  register
	lines   map[string]*register // rts, dtr
	breaks  int
	took    int64 // bytes that the kernel took before the agent was told to end
	arrived int64
}

// span is a time.
type span struct{ begin, end int64 }

const never = math.MaxInt64

func (c *call) ending() int64 {
	if c.end == 0 {
		return never
	}
	return c.end
}

// judge looks at the whole round.
func (r *round) judge() {
	v := &verdict{round: r, records: map[key]*written{}, lines: map[string]*register{"rts": {}, "dtr": {}}}
	v.coding.set(&setting{span: span{0, 1}, value: uart.DefaultCoding().String()})
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	opens := map[uint32]*call{}
	for _, c := range r.journal.calls {
		v.take(c, opens)
	}
	for pid := range r.journal.leaders {
		at := r.journal.ends[pid]
		v.cuts = append(v.cuts, span{at - 2e9, at + 2e9}) // when it ended is seen a little later
	}
	v.close(opens)
	v.coding.sort()
	for _, l := range v.lines {
		l.sort()
	}
	r.weather.shelf.mu.Lock()
	defer r.weather.shelf.mu.Unlock()
	v.order()
	v.echoes()
	v.losses()
	r.Logf("%d calls, %d records, %d bytes taken, %d arrived in %d sessions, %d echoes read", len(r.journal.calls),
		len(v.records), v.took, v.arrived, len(r.weather.shelf.tapes), len(r.journal.echoes))
}

// take sorts a call in. opens has the calls by which visits began.
func (v *verdict) take(c *call, opens map[uint32]*call) {
	ok := c.errno == 0 && !c.died && c.end > 0
	switch c.name {
	case "open", "inherit":
		ok = ok && c.returned > 2
		if ok || c.died || c.end == 0 {
			opens[c.open] = c
		}
		v.wide(span{c.begin, c.ending()})
	case "close":
		if o := opens[c.open]; o != nil {
			v.visits = append(v.visits, span{o.begin, c.ending()})
			delete(opens, c.open)
		}
		v.wide(span{c.begin, c.ending()})
	case "write":
		v.wrote(c, ok)
	case "setattr":
		v.coding.set(&setting{span: span{c.begin, c.ending()}, value: v.carried(c.args[1] + " " + c.args[2]), perhaps: !ok})
	case "bis", "bic":
		for name, l := range v.lines {
			if c.args[1] == name || c.args[1] == "both" {
				l.set(&setting{span: span{c.begin, c.ending()}, value: map[string]string{"bis": "on", "bic": "off"}[c.name], perhaps: !ok})
			}
		}
	case "flush":
		if c.args[1] != "in" {
			v.cuts = append(v.cuts, span{c.begin, c.ending()})
		}
	case "break":
		v.breaks++
	case "foreign":
		v.foreign(c)
	}
}

// wide notes a time in which lines may have changed, nobody knows to what: an open raises them, a close lowers them.
func (v *verdict) wide(s span) {
	for _, l := range v.lines {
		l.set(&setting{span: s})
	}
}

func (v *verdict) foreign(c *call) {
	s := span{c.begin, c.ending()}
	v.wide(s)
	v.visits = append(v.visits, s)
	if c.args[0] != "sh" || len(c.args) > 1 {
		v.coding.set(&setting{span: s})
	}
	if len(c.args) > 1 {
		size, _ := strconv.Atoi(c.args[1])
		w := &written{call: c, open: c.open, seq: 1, size: size}
		v.records[key{w.open, 1}] = w
	}
}

func (v *verdict) wrote(c *call, ok bool) {
	seq, _ := strconv.ParseUint(c.args[1], 10, 32)
	size, _ := strconv.Atoi(c.args[2])
	w := &written{call: c, open: c.open, seq: uint32(seq), size: size}
	if ok {
		w.got = int(c.returned)
	}
	if v.signalAt == 0 || c.ending() < v.signalAt {
		v.took += int64(w.got)
	}
	v.records[key{w.open, w.seq}] = w
	if w.got < w.size {
		v.shorts = append(v.shorts, w)
	}
}

// recordFrame is how much longer a record is than its payload.
const recordFrame = len("[12345678.123456.1234:#12345678]\n")

// close ends the visits that nobody has closed, with their processes.
func (v *verdict) close(opens map[uint32]*call) {
	for _, c := range opens {
		end := v.journal.ends[c.pid]
		if end == 0 {
			end = never
		}
		v.visits = append(v.visits, span{c.begin, end})
		v.wide(span{end - 2e9, end})
	}
	sort.Slice(v.visits, func(i, j int) bool { return v.visits[i].begin < v.visits[j].begin })
}

// carried is what the host carries of a coding.
func (v *verdict) carried(coding string) string {
	baud, bits, _ := strings.Cut(coding, " ")
	if !v.host.Fidelity.Carries(uart.CarriesParity) {
		bits = "8N" + bits[2:]
	}
	return baud + " " + bits
}

var whole = regexp.MustCompile(`^\[([0-9a-f]{8})\.([0-9a-f]{6})\.([0-9a-f]{4}):([a-z]*)#([0-9a-f]{8})\]\n`)
var head = regexp.MustCompile(`^\[([0-9a-f]{8})\.([0-9a-f]{6})\.`)

// order goes through the tapes: each record whole, once, in its place.
func (v *verdict) order() {
	walk := &walk{verdict: v}
	for i, t := range v.weather.shelf.tapes {
		walk.session(i, t)
	}
	breaks := 0
	for _, t := range v.weather.shelf.tapes {
		for _, x := range t.all {
			if x.event.Control.Break == uart.LevelOn {
				breaks++
			}
		}
	}
	if breaks > v.breaks {
		v.ledger.breach(v.seed, breakCount, "%d breaks arrived, %d were called", breaks, v.breaks)
	}
}

// cut reports whether something may have cut what was written at a time and came at another.
func (v *verdict) cut(w *written, came int64) bool {
	if w.died || w.end == 0 || w.wide() || w.got < w.size {
		return true
	}
	return v.purged(w.begin, came)
}

func (v *verdict) purged(from, to int64) bool {
	for _, c := range v.cuts {
		if c.begin < to && c.end > from {
			return true
		}
	}
	return false
}

// fastestBaud is the fastest rate that programs set.
const fastestBaud = 3_000_000

// echoes: what a program reads is what it, or somebody beside it, has asked for; or what the last one has, where that can
// have left the line before it was opened again.
func (v *verdict) echoes() {
	var gaps []span // times in which nobody had the port open, for sure
	last := int64(0)
	for _, s := range v.visits {
		if s.begin > last && last > 0 {
			gaps = append(gaps, span{last, s.begin})
		}
		last = max(last, s.end)
	}
	late := 0
	for _, e := range v.journal.echoes {
		w := v.records[key{e.open, e.seq}]
		if w == nil || w.wide() {
			continue
		}
		i := sort.Search(len(gaps), func(i int) bool { return gaps[i].end > w.begin })
		if i == len(gaps) || gaps[i].begin < w.ending() || gaps[i].end > e.at {
			continue
		}
		late++
		baud := v.coding.fastest(w.begin, e.at) // bits a second, ten of them to a byte
		if baud == 0 {
			baud = fastestBaud
		}
		if left := w.begin + int64(w.size)*10*1e9/int64(baud); e.at < left {
			v.ledger.breach(v.seed, freshEchoes, "record %x.%d of a closed visit was echoed to %x, %.1f ms before it can have left", w.open, w.seq, e.by, float64(left-e.at)/1e6)
		}
	}
	if late > 0 {
		v.Logf("%d echoes came to the program behind the one that asked", late)
	}
}

var lossLine = regexp.MustCompile(`(?m)^.*\b(dropped|lost_at_most)=(\d+).*$`)
var inAll = regexp.MustCompile(`\bin_all=(\d+)`)
var total = regexp.MustCompile(`\b(dropped|lost_at_most)_in_all=(\d+)`)

// losses: what did not arrive was said. Where the agent was killed it could not say it, and a purge loses what nobody counts.
func (v *verdict) losses() {
	said := v.agent.said()
	stated := map[string]int64{} // the lines of some may have been left out: then a later one has the sum
	for _, m := range lossLine.FindAllStringSubmatch(said, -1) {
		n, _ := strconv.ParseInt(m[2], 10, 64)
		stated[m[1]] += n
		if all := inAll.FindStringSubmatch(m[0]); all != nil {
			n, _ = strconv.ParseInt(all[1], 10, 64)
			stated[m[1]] = max(stated[m[1]], n)
		}
	}
	for _, m := range total.FindAllStringSubmatch(said, -1) { // in the last line
		n, _ := strconv.ParseInt(m[2], 10, 64)
		stated[m[1]] = max(stated[m[1]], n)
	}
	atMost := stated["dropped"] + stated["lost_at_most"]
	missing := v.took - v.arrived
	v.Logf("%d bytes are missing, %d are stated at most", missing, atMost)
	killed := v.agent.ProcessState == nil || v.agent.ProcessState.Sys() == nil || !v.agent.ProcessState.Exited()
	if killed || v.purges || v.broken.Err() != nil && v.ledger.any(callsReturn, killedDie) {
		return
	}
	if missing > atMost {
		v.ledger.breach(v.seed, lossesSaid, "%d bytes are missing, %d are stated at most", missing, atMost)
	}
}
