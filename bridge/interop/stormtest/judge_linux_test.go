package stormtest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"os"

	"telnetcpc/bridge/uart"
)

// A judge that detects nothing would pass every storm. Each case is a small round with one fault.

// quiet is a testing.TB that does not fail.
type quiet struct{ testing.TB }

func (quiet) Error(...any)        {}
func (quiet) Logf(string, ...any) {}

// script makes a round by hand. Each call advances its clock by a second.
type script struct {
	round
	clock int64
}

func newScript(t *testing.T, host string, carries uart.Fidelity) *script {
	t.Helper()
	s := &script{clock: 10e9}
	s.T, s.host, s.ledger = t, Host{Name: host, Fidelity: carries}, newLedger(quiet{t}, host)
	s.broken = context.Background()
	s.weather = &weather{}
	var err error
	if s.journal, err = newJournal(filepath.Join(t.TempDir(), "journal")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.journal.file.Close() })
	s.agent = &process{Cmd: exec.Command("true"), log: filepath.Join(t.TempDir(), "log")}
	if err := s.agent.Run(); err != nil {
		t.Fatal(err)
	}
	return s
}

// does adds a successful call of process 1.
func (s *script) does(open uint32, name string, returned int64, args ...string) *call {
	s.clock += 1e9
	c := &call{pid: 1, open: open, name: name, args: args, begin: s.clock, end: s.clock + 1e8, returned: returned}
	s.journal.calls = append(s.journal.calls, c)
	return c
}

// writes adds the write of a record, and returns its bytes.
func (s *script) writes(open, seq uint32) string {
	text := record(open, seq, "abcdefgh") + "\n"
	s.does(open, "write", int64(len(text)), "3", fmt.Sprint(seq), fmt.Sprint(len(text)))
	return text
}

// session adds a tape; each item is bytes or an event.
func (s *script) session(items ...any) {
	t := &tape{opened: 1}
	for _, item := range items {
		s.clock++
		x := taped{at: s.clock}
		switch item := item.(type) {
		case string:
			x.data = []byte(item)
		case uart.Event:
			x.event = item
		}
		t.all = append(t.all, x)
	}
	s.weather.shelf.tapes = append(s.weather.shelf.tapes, t)
}

// coding returns the event that sets a line coding.
func coding(t *testing.T, text string) uart.Event {
	t.Helper()
	c, err := uart.ParseCoding(text)
	if err != nil {
		t.Fatal(err)
	}
	return uart.Event{Kind: uart.KindSettings, Coding: c}
}

func TestJudge(t *testing.T) {
	all := ^uart.Fidelity(0)
	for _, tt := range []struct {
		name string
		play func(t *testing.T, s *script)
		want promise // empty: no fault
	}{
		{"no fault", func(t *testing.T, s *script) {
			s.does(0x101, "open", 3, "2", "/port")
			a := s.writes(0x101, 1)
			s.does(0x101, "setattr", 0, "3", "57600", "7E1")
			s.session(a, coding(t, "57600 7E1"), s.writes(0x101, 2))
		}, ""},
		{"a record is cut", func(t *testing.T, s *script) {
			a, b := s.writes(0x101, 1), s.writes(0x101, 2)
			s.session(a[:10], b)
		}, wholeRecords},
		{"the end of a session cuts a record", func(t *testing.T, s *script) {
			a, b := s.writes(0x101, 1), s.writes(0x101, 2)
			s.session(a[:10])
			s.session(a[10:], b)
		}, ""},
		{"the rest is sent again", func(t *testing.T, s *script) {
			a := s.writes(0x101, 1)
			s.session(a[:30])
			s.session(a)
		}, onceOnly},
		{"a record comes twice", func(t *testing.T, s *script) {
			a := s.writes(0x101, 1)
			s.session(a, a)
		}, onceOnly},
		{"the later one comes first", func(t *testing.T, s *script) {
			a, b := s.writes(0x101, 1), s.writes(0x201, 1)
			s.session(b, a)
		}, inOrder},
		{"a byte is changed", func(t *testing.T, s *script) {
			a := []byte(s.writes(0x101, 1))
			a[25] = 'z'
			s.session(string(a))
		}, knownRecords},
		{"no program wrote it", func(t *testing.T, s *script) {
			s.session(record(0x999, 1, "abc") + "\n")
		}, knownRecords},
		{"a coding comes late", func(t *testing.T, s *script) {
			s.does(0x101, "setattr", 0, "3", "57600", "7E1")
			s.session(s.writes(0x101, 1), coding(t, "57600 7E1"))
		}, codingPlace},
		{"a coding comes early", func(t *testing.T, s *script) {
			a := s.writes(0x101, 1)
			s.does(0x101, "setattr", 0, "3", "57600", "7E1")
			s.session(coding(t, "57600 7E1"), a)
		}, codingPlace},
		{"RTS does not fall", func(t *testing.T, s *script) {
			s.does(0x101, "bis", 0, "3", "rts")
			s.does(0x101, "bic", 0, "3", "rts")
			s.session(uart.Event{Control: uart.Control{RTS: uart.LevelOn}}, s.writes(0x101, 1))
		}, linesPlace},
		{"one break becomes two", func(t *testing.T, s *script) {
			s.does(0x101, "break", 0, "3")
			on := uart.Event{Control: uart.Control{Break: uart.LevelOn}}
			s.session(on, on)
		}, breakCount},
		{"the next program reads the previous one's echo", func(t *testing.T, s *script) {
			s.does(0x101, "open", 3, "2", "/port")
			s.does(0x101, "setattr", 0, "3", "9600", "8N1")
			a := s.writes(0x101, 1)
			w := s.journal.calls[2]
			s.does(0x101, "close", 0, "3").end = w.end + 2
			s.journal.calls[3].begin = w.end + 1
			next := s.does(0x201, "open", 3, "2", "/port")
			next.begin, next.end = w.end+3, w.end+4
			w.begin = w.end - 1
			s.journal.echoes = append(s.journal.echoes, echo{w.end + 5, 0x201, 0x101, 1})
			s.session(coding(t, "9600 8N1"), a)
		}, freshEchoes},
		{"bytes are missing", func(t *testing.T, s *script) {
			a := s.writes(0x101, 1)
			_ = s.writes(0x101, 2)
			s.session(a)
		}, lossesLogged},
		{"bytes are missing, and the log says so", func(t *testing.T, s *script) {
			_ = s.writes(0x101, 1)
			s.session()
			if err := os.WriteFile(s.agent.log, []byte("level=WARN msg=dropped dropped=30 in_all=50\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, "test", all)
			tt.play(t, s)
			s.judge()
			if tt.want == "" && len(s.ledger.count) > 0 || tt.want != "" && s.ledger.count[tt.want] == 0 {
				t.Errorf("want %q, got: %s", tt.want, s.ledger.sum())
			}
		})
	}
}
