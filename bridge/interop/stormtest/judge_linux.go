package stormtest

import (
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"telnetcpc/bridge/uart"
)

// The judge compares what reached the device with what the programs did. It works when everything has ended.

// written is a record that a program wrote, and what arrived of it.
type written struct {
	*call
	open, seq uint32
	size, got int // bytes of the record; bytes that the kernel took
	arrived   int // how often it arrived whole
	heads     int // bytes of it that arrived without its end
}

// key names a record.
type key struct{ open, seq uint32 }

// verdict is what is known about a round.
type verdict struct {
	*round
	records map[key]*written
	shorts  []*written // records that the kernel did not take whole
	cuts    []span     // purges and hangups: they may cut what was in flight
	visits  []span     // from open to close, of all opens
	coding  register
	lines   map[string]*register // rts, dtr
	breaks  int
	took    int64 // bytes that the kernel took before the agent was asked to end
	arrived int64
}

// span is an interval of time, in nanoseconds.
type span struct{ begin, end int64 }

const never = math.MaxInt64

func (c *call) ending() int64 {
	if c.end == 0 {
		return never
	}
	return c.end
}

// judge checks the whole round.
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
		v.cuts = append(v.cuts, span{at - 2e9, at + 2e9}) // its end is noticed a little later
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

// take adds a call. opens holds the opens that are not closed yet, by their number.
func (v *verdict) take(c *call, opens map[uint32]*call) {
	ok := c.errno == 0 && !c.died && c.end > 0
	switch c.name {
	case "open", "inherit":
		ok = ok && c.returned > 2
		if ok || c.died || c.end == 0 {
			opens[c.open] = c
		}
		v.anyLevel(span{c.begin, c.ending()})
	case "close":
		if o := opens[c.open]; o != nil {
			v.visits = append(v.visits, span{o.begin, c.ending()})
			delete(opens, c.open)
		}
		v.anyLevel(span{c.begin, c.ending()})
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

// anyLevel records a span in which DTR and RTS may have changed to any level: an open raises them, a close lowers them.
func (v *verdict) anyLevel(s span) {
	for _, l := range v.lines {
		l.set(&setting{span: s})
	}
}

func (v *verdict) foreign(c *call) {
	s := span{c.begin, c.ending()}
	v.anyLevel(s)
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

// recordFrame is the length of a record without its payload.
const recordFrame = len("[12345678.123456.1234:#12345678]\n")

// close ends the visits that no call has closed, at the end of their processes.
func (v *verdict) close(opens map[uint32]*call) {
	for _, c := range opens {
		end := v.journal.ends[c.pid]
		if end == 0 {
			end = never
		}
		v.visits = append(v.visits, span{c.begin, end})
		v.anyLevel(span{end - 2e9, end})
	}
	sort.Slice(v.visits, func(i, j int) bool { return v.visits[i].begin < v.visits[j].begin })
}

// carried returns the part of a coding that the host carries.
func (v *verdict) carried(coding string) string {
	baud, bits, _ := strings.Cut(coding, " ")
	if !v.host.Fidelity.Carries(uart.CarriesParity) {
		bits = "8N" + bits[2:]
	}
	return baud + " " + bits
}

var whole = regexp.MustCompile(`^\[([0-9a-f]{8})\.([0-9a-f]{6})\.([0-9a-f]{4}):([a-z]*)#([0-9a-f]{8})\]\n`)
var head = regexp.MustCompile(`^\[([0-9a-f]{8})\.([0-9a-f]{6})\.`)

// order checks the tapes: each record must arrive whole, once and in order.
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
		v.ledger.breach(v.seed, breakCount, "%d breaks arrived, programs sent %d", breaks, v.breaks)
	}
}

// cut reports whether something may have cut a record that arrived at came.
func (v *verdict) cut(w *written, came int64) bool {
	if w.died || w.end == 0 || w.isForeign() || w.got < w.size {
		return true
	}
	return v.purged(w.begin, came)
}

// purged reports whether a purge or a hangup overlaps a time.
func (v *verdict) purged(from, to int64) bool {
	for _, c := range v.cuts {
		if c.begin < to && c.end > from {
			return true
		}
	}
	return false
}

// fastestBaud is the highest baud rate that programs set.
const fastestBaud = 3_000_000

// echoes checks that a program reads echoes of records that were written while the port was open without a break until the
// read. It may read those of an earlier visit only if the record can have left the line by then.
func (v *verdict) echoes() {
	var gaps []span // when certainly no program had the port open
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
		if w == nil || w.isForeign() {
			continue
		}
		i := sort.Search(len(gaps), func(i int) bool { return gaps[i].end > w.begin })
		if i == len(gaps) || gaps[i].begin < w.ending() || gaps[i].end > e.at {
			continue
		}
		late++
		baud := v.coding.fastest(w.begin, e.at) // bit/s, ten bits a byte
		if baud == 0 {
			baud = fastestBaud
		}
		if left := w.begin + int64(w.size)*10*1e9/int64(baud); e.at < left {
			v.ledger.breach(v.seed, freshEchoes, "%x read the echo of record %x.%d of a closed visit, %.1f ms before that record can have left the line", e.by, w.open, w.seq, float64(left-e.at)/1e6)
		}
	}
	if late > 0 {
		v.Logf("%d echoes reached a later program than the one that wrote the record", late)
	}
}

var lossLine = regexp.MustCompile(`(?m)^.*\b(dropped|lost_at_most)=(\d+).*$`)
var inAll = regexp.MustCompile(`\bin_all=(\d+)`)
var total = regexp.MustCompile(`\b(dropped|lost_at_most)_in_all=(\d+)`)

// losses checks that the log accounts for all bytes that did not arrive. An agent that was killed could not log them, and
// bytes lost by a purge are not counted.
func (v *verdict) losses() {
	log := v.agent.output()
	logged := map[string]int64{} // some lines may have been left out: then a later line has the sum
	for _, m := range lossLine.FindAllStringSubmatch(log, -1) {
		n, _ := strconv.ParseInt(m[2], 10, 64)
		logged[m[1]] += n
		if all := inAll.FindStringSubmatch(m[0]); all != nil {
			n, _ = strconv.ParseInt(all[1], 10, 64)
			logged[m[1]] = max(logged[m[1]], n)
		}
	}
	for _, m := range total.FindAllStringSubmatch(log, -1) { // the agent's last line
		n, _ := strconv.ParseInt(m[2], 10, 64)
		logged[m[1]] = max(logged[m[1]], n)
	}
	atMost := logged["dropped"] + logged["lost_at_most"]
	missing := v.took - v.arrived
	v.Logf("%d bytes are missing, the log accounts for at most %d", missing, atMost)
	killed := v.agent.ProcessState == nil || v.agent.ProcessState.Sys() == nil || !v.agent.ProcessState.Exited()
	if killed || v.purges || v.broken.Err() != nil && v.ledger.any(callsReturn, killedDie) {
		return
	}
	if missing > atMost {
		v.ledger.breach(v.seed, lossesLogged, "%d bytes are missing, the log accounts for at most %d", missing, atMost)
	}
}
