package bridge_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// What the storm's application did, as the bridge has taken it, and what of it the sessions must have got.

// model remembers what the bridge has taken from its ports, and what it logged of its sessions.
type model struct {
	diary     diary
	mu        sync.Mutex
	next      uint32 // the next record that the application writes
	wrote     uint64 // bytes that its writes have taken
	lastWrite time.Time
	closed    time.Time // the last port
	taken     uint64    // bytes that the bridge has taken
	came      []cameRun
	coding    uart.Coding // in force at the place where the bridge reads
	events    []placedEvent
	links     []linkTime
}

// diary is a record of events for people.
type diary struct {
	mu   sync.Mutex
	text strings.Builder
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(&d.text, "%s "+format+"\n", append([]any{clock(time.Now())}, args...)...)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// cameRun is records that the bridge has taken in one go.
type cameRun struct {
	first, last uint32
	at          time.Time
	coding      uart.Coding
	opened      time.Time // the open in which they were written
}

// placedEvent is an open, a close or a purge, and the record that it came before.
type placedEvent struct {
	kind   uart.Kind
	at     time.Time
	before uint32
}

// linkTime is a session that was the link.
type linkTime struct {
	session *stormSession
	at, end time.Time // end is zero while it is up
	given   int       // bytes written to it at its end
	lost    int       // bytes that its line had not sent then, or when the bridge sent FIN after all of them
	message string
	loss    map[string]uint64
}

// stormPort reports to the model what the bridge takes.
type stormPort struct {
	*uarttest.Port
	m      *model
	opened time.Time
	next   uint32 // record
}

func (p *stormPort) Next() ([]byte, uart.Event, error) {
	yield()
	data, e, err := p.Port.Next()
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.taken += uint64(len(data))
	if len(data) > 0 {
		first := binary.BigEndian.Uint32(data)
		last := binary.BigEndian.Uint32(data[len(data)-4:])
		p.next = last + 1
		m.came = append(m.came, cameRun{first, last, now, m.coding, p.opened})
		m.diary.note("\t\tup takes records %d to %d at %v", first, last, m.coding)
	}
	if e.Kind != uart.KindData {
		m.diary.note("\t\tup takes %v", e)
	}
	switch e.Kind {
	case uart.KindSettings:
		m.coding = e.Coding.Over(m.coding)
	case uart.KindOpened:
		p.opened = now
	}
	if e.Kind == uart.KindOpened || e.Kind == uart.KindClosed || e.Kind == uart.KindPurge && e.Purge&uart.PurgeTx != 0 {
		m.events = append(m.events, placedEvent{e.Kind, now, p.next})
	}
	return data, e, err
}

func (p *stormPort) Write(b []byte) (int, error) {
	yield()
	defer yield()
	return p.Port.Write(b)
}

func (p *stormPort) Close() error {
	p.m.mu.Lock()
	p.m.closed = time.Now()
	p.m.mu.Unlock()
	return p.Port.Close()
}

// watch is the slog.Handler that reports sessions to the model.
type watch struct {
	m *model
	f *stormFar
}

func (watch) Enabled(context.Context, slog.Level) bool { return true }
func (w watch) WithAttrs([]slog.Attr) slog.Handler     { return w }
func (w watch) WithGroup(string) slog.Handler          { return w }

func (w watch) Handle(_ context.Context, r slog.Record) error {
	yield()
	defer yield()
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	numbers := map[string]uint64{}
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		switch v := a.Value; v.Kind() {
		case slog.KindInt64:
			numbers[a.Key] = uint64(v.Int64())
		case slog.KindUint64:
			numbers[a.Key] = v.Uint64()
		}
		return true
	})
	w.m.diary.note("\t%s", line)
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	switch r.Message {
	case "session up":
		w.m.links = append(w.m.links, linkTime{session: w.f.sessions[len(w.f.sessions)-1], at: r.Time})
	case "session closed", "session closed; unknown whether the access server read everything", "session closed before everything was sent", "session closed with device bytes that the application had not read", "session lost", "session ended by the access server, nothing in flight":
		s := &w.m.links[len(w.m.links)-1]
		if !s.end.IsZero() {
			w.f.fault("a session ended twice: %s", r.Message)
		}
		s.end, s.message, s.loss, s.given = r.Time, r.Message, numbers, s.session.sent
		s.lost = s.session.lost
		if numbers["lost_at_most"] > 0 { // if it is unknown whether everything is out, FIN may be sent before that
			s.lost = s.session.sent - s.session.line.gone(r.Time)
		}
		if !s.session.left.IsZero() {
			s.end = s.session.left // the application has no session any more
		}
	}
	return nil
}

// cameOf is the run that a record came in.
func (m *model) cameOf(record uint32) (cameRun, bool) {
	i := sort.Search(len(m.came), func(i int) bool { return m.came[i].last >= record })
	if i == len(m.came) || m.came[i].first > record {
		return cameRun{}, false
	}
	return m.came[i], true
}

// newest is when the last bytes before a time came; zero: none did.
func (m *model) newest(before time.Time) time.Time {
	i := sort.Search(len(m.came), func(i int) bool { return !m.came[i].at.Before(before) })
	if i == 0 {
		return time.Time{}
	}
	return m.came[i-1].at
}

// outage is since when no session is up, if one was and the port was not opened again since.
func (m *model) outage() (since time.Time, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := len(m.links) - 1
	if k < 0 || m.links[k].end.IsZero() {
		return since, false
	}
	for _, e := range m.events {
		if e.kind == uart.KindOpened && !e.at.Before(m.links[k].end.Add(-moment)) {
			return since, false
		}
	}
	return m.links[k].end, true
}

// after is when the next run came: until then up has this one in hand.
func (m *model) after(c cameRun) time.Time {
	i := sort.Search(len(m.came), func(i int) bool { return m.came[i].first > c.last })
	if i == len(m.came) {
		return c.at.Add(24 * time.Hour)
	}
	return m.came[i].at
}

// verdict is what is wrong with a storm that is over.
type verdict struct {
	m     *model
	f     *stormFar
	keep  time.Duration // HoldFor; 0 if the policy does not hold
	drain bool          // the host can make the application wait for its bytes
	wrong []string
}

func (v *verdict) fault(format string, args ...any) {
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

// judge checks all sessions. Nothing runs any more.
func (v *verdict) judge(dropped uint64) []string {
	v.wrong = append(v.wrong, v.f.wrong...)
	last, given := int64(-1), uint64(0)
	for i, s := range v.f.sessions {
		given += uint64(s.sent)
		if !s.closed {
			v.fault("session %d was not closed", i)
		}
		for _, run := range s.given {
			if int64(run.first) <= last {
				v.fault("session %d got record %d, and another session record %d before", i, run.first, last)
			}
			last = int64(run.last)
			v.run(i, s, run)
		}
	}
	if given+dropped != v.m.taken {
		v.fault("%d bytes were taken: %d sent and %d dropped, %d are missing", v.m.taken, given, dropped, int64(v.m.taken-given-dropped))
	}
	v.losses()
	v.dials()
	return v.wrong
}

// run checks records that a session got.
func (v *verdict) run(i int, s *stormSession, run givenRun) {
	st, ok := v.linkOf(s)
	if !ok {
		v.fault("session %d was never up and got records %d to %d", i, run.first, run.last)
		return
	}
	for n := run.first; n <= run.last; {
		c, ok := v.m.cameOf(n)
		if !ok {
			v.fault("session %d got record %d, which was never written", i, n)
			return
		}
		if c.coding != run.coding {
			v.fault("session %d got record %d at %v, it was written at %v", i, n, run.coding, c.coding)
		}
		for _, e := range v.m.events {
			if e.kind == uart.KindPurge && e.before > n && run.began.After(e.at) && c.at.Before(e.at) {
				v.fault("session %d got record %d, purged %v before", i, n, run.began.Sub(e.at))
				break
			}
		}
		v.age(i, st, n, c)
		n = c.last + 1
	}
}

func (v *verdict) linkOf(s *stormSession) (linkTime, bool) {
	for _, st := range v.m.links {
		if st.session == s {
			return st, true
		}
	}
	return linkTime{}, false
}

// slack is how far off the time bounds may be: the piece of HoldFor that counts as one moment, and what polling needs.
func (v *verdict) slack() time.Duration { return v.keep/64 + 50*time.Millisecond }

// moment is how long something that the bridge does in one go may take if yield lets others run first.
const moment = 20 * time.Millisecond

// freshMost is how long the bridge waits for the first dial of an open.
const freshMost = 10 * time.Second

// age checks whether record n, which came with c, was too old when session st came up.
func (v *verdict) age(i int, st linkTime, n uint32, c cameRun) {
	if v.keep < 0 || !c.at.Before(st.at) || v.fresh(c, st.at) {
		return
	}
	came := c.at
	for _, before := range v.m.links {
		if before.session == st.session {
			break
		}
		if during := !c.at.Before(before.at) || !v.m.after(c).Before(before.at); during && !c.at.After(before.end) {
			came = laterOf(came, before.end) // it may have been in a Write to that one
		}
	}
	if old := v.m.newest(st.at).Sub(came); old > v.keep+v.slack() {
		v.fault("session %d came at %v and got record %d, %v older than the newest", i, clock(st.at), n, old)
	}
	if v.keep == 0 && st.at.Sub(came) > v.slack() {
		v.fault("session %d came at %v and got record %d, %v old: nothing is held", i, clock(st.at), n, st.at.Sub(came))
	}
	for _, e := range v.m.events {
		if e.kind != uart.KindClosed || e.before <= n || e.at.Before(c.at) {
			continue
		}
		closed := e.at
		for _, before := range v.m.links {
			if before.session == st.session {
				break
			}
			if !closed.Before(before.at) && !closed.After(before.end) {
				closed = before.end
			}
		}
		if wait := st.at.Sub(closed); wait > v.keep+v.slack() {
			v.fault("session %d came at %v and got record %d of an open closed %v before", i, clock(st.at), n, wait)
		}
		return
	}
}

// fresh reports whether no dial has ended between the open that bytes were written in and a session.
func (v *verdict) fresh(c cameRun, up time.Time) bool {
	begun := c.opened
	for _, at := range v.f.dials {
		if !at.Before(c.opened) {
			begun = at
			break
		}
	}
	if up.Sub(begun) > freshMost+50*time.Millisecond {
		return false
	}
	for _, at := range v.f.failed {
		if at.After(c.opened) && at.Before(up) {
			return false
		}
	}
	for _, s := range v.m.links {
		if s.at.Before(up) && s.end.After(c.opened.Add(moment)) {
			return false
		}
	}
	return true
}

// losses checks what was logged about the ends of sessions.
func (v *verdict) losses() {
	for i, s := range v.m.links {
		if s.end.IsZero() {
			v.fault("the end of the session that came up at %v was not logged", clock(s.at))
			continue
		}
		atMost, since := s.loss["lost_at_most"], s.loss["since_mark"]
		ordered := s.message == "session closed" && atMost == 0
		if lost := uint64(s.lost); lost > atMost && (s.session.honest || !ordered) {
			v.fault("link %d (%v to %v): %d bytes are lost, %q says %d at most (%v)", i, clock(s.at), clock(s.end), lost, s.message, atMost, s.loss)
		}
		if since > uint64(s.given)+16<<10 {
			v.fault("link %d: since_mark is %d of %d bytes sent", i, since, s.given)
		}
		forced := strings.Contains(v.m.diary.String(), "the bytes before it are stuck")
		if !v.drain && s.session.honest && s.session.line.wrong > 0 && !forced && !v.dropping(s) {
			v.fault("link %d: %d bytes had not left the line when the coding changed", i, s.session.line.wrong)
		}
	}
}

// dropping reports whether a purge came while a session was up: then bytes are not waited for.
func (v *verdict) dropping(s linkTime) bool {
	for _, e := range v.m.events {
		if e.kind == uart.KindPurge && e.at.After(s.at.Add(-time.Second)) && e.at.Before(s.end.Add(time.Second)) {
			return true
		}
	}
	return false
}

// dials checks how often the remote was dialed.
func (v *verdict) dials() {
	const many = 13
	for i := many; i < len(v.f.dials); i++ {
		if took := v.f.dials[i].Sub(v.f.dials[i-many]); took < time.Second {
			v.fault("%d dials in %v at %v", many, took, clock(v.f.dials[i]))
			return
		}
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000000") }
