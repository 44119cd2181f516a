package stormtest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"sort"
	"strconv"
	"strings"

	"telnetcpc/bridge/uart"
)

// walk goes through the tapes of a round, in order.
type walk struct {
	*verdict
	latest int64    // the latest begin of a write, of the records until now
	newest *written // the record of that write
	opened int64    // when this session began
}

// piece is a part of a tape with one state of the settings.
type piece struct {
	at      int64
	from    int // offset in the session's bytes
	coding  uart.Coding
	control uart.Control
}

// session checks one tape.
func (w *walk) session(number int, t *tape) {
	var text []byte
	pieces := []piece{{at: t.opened, coding: uart.DefaultCoding()}}
	for _, x := range t.all {
		last := pieces[len(pieces)-1]
		last.at, last.from = x.at, len(text)
		last.coding = x.event.Coding.Over(last.coding)
		last.control = x.event.Control.Over(last.control)
		pieces = append(pieces, last)
		text = append(text, x.data...)
	}
	w.opened = t.opened
	w.arrived += int64(len(text))
	for at := 0; at < len(text); {
		place := pieces[sort.Search(len(pieces), func(i int) bool { return pieces[i].from > at })-1]
		m := whole.FindSubmatch(text[at:])
		if m == nil {
			at += w.fragment(number, text, at, place)
			continue
		}
		end := pieces[sort.Search(len(pieces), func(i int) bool { return pieces[i].from >= at+len(m[0]) })-1]
		w.record(m, place, end)
		at += len(m[0])
	}
}

// fragment checks bytes that are no whole record and returns how many they are. Begin and end of a session may cut a record.
func (w *walk) fragment(number int, text []byte, at int, place piece) int {
	size := len(text) - at
	if next := bytes.IndexByte(text[at+1:], '['); next >= 0 {
		size = next + 1
	}
	atEnd := at+size == len(text)
	atBegin := at == 0 && text[0] != '['
	m := head.FindSubmatch(text[at:])
	if m == nil {
		if !atBegin && !atEnd && !w.purged(place.at-int64(patience), place.at) && !w.short(text[at:at+size]) {
			w.ledger.breach(w.seed, wholeRecords, "session %d, byte %d: %q belongs to no record", number, at, clip(text[at:at+size]))
		}
		return size
	}
	of := w.records[key{hex(m[1]), hex(m[2])}]
	switch {
	case of == nil:
		if !atEnd {
			w.ledger.breach(w.seed, knownRecords, "session %d: %q", number, clip(text[at:at+size]))
		}
	case !atEnd && !w.cut(of, place.at):
		w.ledger.breach(w.seed, wholeRecords, "session %d: %d of %d bytes of record %x.%d, then %q", number, size, of.size, of.open, of.seq, clip(text[at+size:]))
	}
	if of != nil {
		of.heads += size
		w.follows(of)
	}
	return size
}

// short reports whether text is what arrived of a write that was cut inside the record's header.
func (w *walk) short(text []byte) bool {
	for _, c := range w.shorts {
		if bytes.HasPrefix(fmt.Appendf(nil, "[%08x.%06x.%04x:", c.open, c.seq, c.size-recordFrame), text) {
			return true
		}
	}
	return false
}

func hex(p []byte) uint32 {
	n, _ := strconv.ParseUint(string(p), 16, 32)
	return uint32(n)
}

func clip(p []byte) string { return string(p[:min(len(p), 60)]) }

// record checks a whole record, which began at place and ended at end.
func (w *walk) record(m [][]byte, place, end piece) {
	k := key{hex(m[1]), hex(m[2])}
	of := w.records[k]
	sum := crc32.ChecksumIEEE(m[0][:len(m[0])-len("#12345678]\n")])
	switch {
	case of == nil || int(hex(m[3])) != len(m[4]) || hex(m[5]) != sum:
		if of == nil || !w.purged(of.begin, place.at) { // two halves may look like one record
			w.ledger.breach(w.seed, knownRecords, "%q", clip(m[0]))
		}
		return
	case of.arrived > 0:
		w.ledger.breach(w.seed, onceOnly, "record %x.%d", k.open, k.seq)
	case of.heads > 0:
		w.ledger.breach(w.seed, onceOnly, "record %x.%d, after %d bytes of it", k.open, k.seq, of.heads)
	}
	of.arrived++
	w.follows(of)
	if of.isForeign() {
		return
	}
	w.settings(of, place, end)
}

// follows checks the order: if one write returned before another began, its record arrives first.
func (w *walk) follows(of *written) {
	if end := of.ending(); end < w.latest && !of.isForeign() && !of.died {
		w.ledger.breach(w.seed, inOrder, "record %x.%d arrived after record %x.%d, though its write returned %.1f ms before that one's began",
			of.open, of.seq, w.newest.open, w.newest.seq, float64(w.latest-end)/1e6)
	}
	if of.begin > w.latest && !of.isForeign() {
		w.latest, w.newest = of.begin, of
	}
}

// settings checks the settings that were in force when a record arrived.
func (w *walk) settings(of *written, place, end piece) {
	allowed := w.coding.allows(of.begin, of.ending(), w.carried(place.coding.String())) ||
		w.coding.allows(of.begin, of.ending(), w.carried(end.coding.String())) ||
		w.host.Overtakes && w.coding.overtakes(of.begin, place.at, place.coding.String())
	if !allowed && w.host.Fidelity.Carries(uart.CarriesOrder) {
		w.ledger.breach(w.seed, codingPlace, "record %x.%d arrived with %v, and was written with %s", of.open, of.seq, place.coding, w.coding.at(of.begin, of.ending()))
	}
	// If a record waited for a session, that session starts with the last state of the lines.
	if of.begin < w.opened || w.host.Overtakes || !w.host.Fidelity.Carries(uart.CarriesRTS|uart.CarriesOrder) {
		return
	}
	for name, level := range map[string]uart.Level{"rts": place.control.RTS, "dtr": place.control.DTR} {
		if l := w.lines[name]; level != 0 && !l.allows(of.begin, of.ending(), level.String()) {
			w.ledger.breach(w.seed, linesPlace, "record %x.%d arrived with %s %v, and was written with %s", of.open, of.seq, name, level, l.at(of.begin, of.ending()))
		}
	}
}

// setting is a change of a register, which took effect at some time in its span.
type setting struct {
	span
	value   string // empty: unknown
	perhaps bool   // it may not have been done
}

// register has one value at each time: the line coding, or one of DTR and RTS.
type register struct {
	all  []*setting // sorted by begin
	ends []*setting // those that were certainly done, sorted by end
	last []int64    // for each of ends: the latest begin of it and those before it
}

func (r *register) set(s *setting) { r.all = append(r.all, s) }

func (r *register) sort() {
	sort.SliceStable(r.all, func(i, j int) bool { return r.all[i].begin < r.all[j].begin })
	for _, s := range r.all {
		if !s.perhaps {
			r.ends = append(r.ends, s)
		}
	}
	sort.SliceStable(r.ends, func(i, j int) bool { return r.ends[i].end < r.ends[j].end })
	most := int64(math.MinInt64)
	for _, s := range r.ends {
		most = max(most, s.begin)
		r.last = append(r.last, most)
	}
}

// possible calls f with each setting that may have been in force at some time in a span, until f returns false. A setting cannot
// be in force any more if another one began after its end and ended before the span.
func (r *register) possible(begin, end int64, f func(*setting) bool) {
	over := int64(math.MinInt64)
	if i := sort.Search(len(r.ends), func(i int) bool { return r.ends[i].end >= begin }); i > 0 {
		over = r.last[i-1]
	}
	for i := sort.Search(len(r.all), func(i int) bool { return r.all[i].begin >= end }) - 1; i >= 0; i-- {
		if r.all[i].end >= over && !f(r.all[i]) {
			return
		}
	}
}

// allows reports whether a value may have been in force at some time in a span.
func (r *register) allows(begin, end int64, value string) (ok bool) {
	r.possible(begin, end, func(s *setting) bool {
		ok = s.value == "" || s.value == value
		return !ok
	})
	return ok
}

// overtakes is allows for a host that applies the parts of a coding one by one: each part may have been in force at some time.
func (r *register) overtakes(begin, end int64, value string) bool {
	parts := map[string]bool{}
	r.possible(begin, end, func(s *setting) bool {
		baud, bits, _ := strings.Cut(s.value, " ")
		parts[baud] = true
		for i := range bits {
			parts[fmt.Sprint(i, bits[i:])[:2]] = true
		}
		parts["any"] = parts["any"] || s.value == ""
		return true
	})
	baud, bits, _ := strings.Cut(value, " ")
	ok := parts[baud]
	for i := range bits {
		ok = ok && parts[fmt.Sprint(i, bits[i:])[:2]]
	}
	return ok || parts["any"]
}

// at returns the values that may have been in force in a span, for messages.
func (r *register) at(begin, end int64) string {
	text := ""
	r.possible(begin, end, func(s *setting) bool {
		text += fmt.Sprintf("[%s]", s.value)
		return len(text) < 200
	})
	return text
}

// fastest returns the highest baud rate that may have been in force in a span; 0 if that is unknown.
func (r *register) fastest(begin, end int64) (most int) {
	unknown := false
	r.possible(begin, end, func(s *setting) bool {
		var baud int
		if _, err := fmt.Sscan(s.value, &baud); err != nil {
			unknown = true
			return false
		}
		most = max(most, baud)
		return true
	})
	if unknown {
		return 0
	}
	return most
}
