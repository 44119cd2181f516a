package probe_test

import (
	"context"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/probe"
)

// com is a subnegotiation of COM-PORT-OPTION.
func com(s string) string {
	return "\xff\xfa\x2c" + strings.ReplaceAll(s, "\xff", "\xff\xff") + "\xff\xf0"
}

const askBaud, askDTR, askBreak = "\x01\x00\x00\x00\x00", "\x05\x07", "\x05\x04"

// changed is the recorded ser2net with one thing changed in each row.
var changed = []struct {
	name   string
	change func(*script)
	want   []string // the names, apart from break-on
	seen   string   // by the first
}{
	{"none", func(*script) {}, nil, ""},
	{"timing marks are not answered", func(s *script) { s.answer(doTM) }, []string{"no-timing-mark"}, "2s"},
	{"DTR is answered as sredird does", func(s *script) { s.answer(com(askDTR), com("\x69\x03")) }, []string{"flow-for-lines"}, "DTR with 3"},
	{"DTR is not answered", func(s *script) { s.answer(com(askDTR)) }, []string{"lines-not-answered"}, "DTR"},
	{"a baud rate of 0", func(s *script) { s.answer(com(askBaud), com("\x65\x00\x00\x00\x00")) }, []string{"baud-0"}, "with 0"},
	{"a baud rate of 8 bytes", func(s *script) { s.answer(com(askBaud), com("\x65\x00\x00\x25\x80\x00\x00\x00\x00")) },
		[]string{"baud-length"}, "8 bytes: 00 00 25 80"},
	{"a baud rate of 2 bytes", func(s *script) { s.answer(com(askBaud), com("\x65\x25\x80")) },
		[]string{"questions-not-answered", "short-command"}, "baud rate"},
	{"two commands in one", func(s *script) { s.answer(com(askBaud), com("\x6c\x6b\x30"), com("\x6d"), com("\x65\x00\x00\x25\x80")) },
		[]string{"suspend", "several-commands"}, "1 times, and has resumed"},
	{"it suspends and never resumes", func(s *script) { s.answer(doTM, com("\x6c"), "\xff\xfc\x06") },
		[]string{"suspend"}, "has not resumed"},
	{"data before the agreement", func(s *script) { s.greeting = slices.Insert(slices.Clone(s.greeting), 0, []byte("\x1b[2JHi\r\n")) },
		[]string{"data"}, `8 bytes of data arrived before COM-PORT-OPTION was agreed: "\x1b[2JHi\r\n"`},
	{"255 in data is not doubled", func(s *script) { s.answer(doTM, "a\xff\x41", "\xff\xfc\x06") }, []string{"data", "single-ff"}, "1 bytes"},
	{"private codes", func(s *script) { s.answer(doTM, com("\x33\x01"), com("\x97"), com("\x97"), "\xff\xfc\x06") },
		[]string{"private-codes"}, "0x33, 0x97 (HW group"},
	{"an endless subnegotiation", func(s *script) { s.answer(doTM, com(strings.Repeat("\x33", 2000)), "\xff\xfc\x06") },
		[]string{"long-subnegotiation"}, "1024 bytes"},
	{"parity that RFC 2217 does not define", func(s *script) { s.answer(com("\x03\x00"), com("\x67\x09")) }, []string{"odd-answers"}, "parity with 09"},
	{"no answer at all", func(s *script) {
		maps.DeleteFunc(s.replies, func(m string, _ reply) bool { return strings.HasPrefix(m, "\xff\xfa\x2c") && m != com("\x00") })
	}, []string{"no-answers"}, "none of the queries"},
	{"BINARY is refused", func(s *script) {
		s.greeting = [][]byte{[]byte("\xff\xfb\x03\xff\xfd\x03\xff\xfd\x2c")}
		s.answer("\xff\xfb\x00", "\xff\xfe\x00")
	}, []string{"binary-not-agreed"}, "BINARY: DO not answered, WILL refused"},
	{"Moxa, as reported", func(s *script) { s.answer(com("\x00"), com("\x64Moxa NPort 5110")) }, []string{"moxa"}, "Moxa NPort 5110"},
	{"it crashes when asked for the signature", func(s *script) { s.replies[com("\x00")] = reply{closes: true} },
		[]string{"signature-ends-session"}, "signature"},
	{"it crashes when asked about DTR", func(s *script) { s.replies[com(askDTR)] = reply{closes: true} },
		[]string{"closed-early"}, "when it was asked about DTR"},
}

func TestProbeNamesDeviations(t *testing.T) {
	for _, test := range changed {
		t.Run(test.name, func(t *testing.T) {
			s := recorded(t, "ser2net-4.3.11")
			test.change(s)
			synctest.Test(t, func(t *testing.T) {
				r := probeScript(t, s, false)
				if !r.AccessServer {
					t.Errorf("it counts as %q", r.LooksLike)
				}
				list := slices.DeleteFunc(slices.Clone(r.Deviations), func(d probe.Deviation) bool { return d.Name == "break-on" })
				var got []string
				for _, d := range list {
					got = append(got, d.Name)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("deviations: got %q, want %q", got, test.want)
				}
				if len(list) > 0 && !strings.Contains(list[0].Seen, test.seen) {
					t.Errorf("%s: seen %q, want %q in it", list[0].Name, list[0].Seen, test.seen)
				}
			})
		})
	}
}

// A late answer, which comes after the next query, is still assigned to its own.
func TestProbeTakesLateAnswers(t *testing.T) {
	s := recorded(t, "ser2net-4.3.11")
	dtr := s.replies[com("\x05\x07")]
	s.answer(com("\x05\x07"))
	brk := s.replies[com("\x05\x04")]
	s.replies[com("\x05\x04")] = reply{pieces: slices.Concat(brk.pieces, dtr.pieces)}
	synctest.Test(t, func(t *testing.T) {
		r := probeScript(t, s, false)
		if r.Settings.DTR.Answer != "off" || r.Settings.Break.Answer != "on" {
			t.Errorf("got %+v", r.Settings)
		}
	})
}

// A Telnet server that does not answer WILL but agrees to DO, as Lantronix's manual describes.
func TestProbeAsksWithDo(t *testing.T) {
	s := &script{greeting: [][]byte{[]byte("\xff\xfb\x01")}, replies: map[string]reply{}}
	s.answer(do44, will44)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if r := probeScript(t, s, false); !r.AccessServer {
			t.Errorf("it counts as %q", r.LooksLike)
		}
		if took := time.Since(began); took < time.Second || took > probe.DefaultTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// A probe of any broken or hostile server ends in time, with a report.
func TestProbeEnds(t *testing.T) {
	flood := func(piece string) func(net.Conn) {
		return func(conn net.Conn) {
			for {
				if _, err := conn.Write([]byte(piece)); err != nil {
					return
				}
				time.Sleep(time.Millisecond) // otherwise fake time would not advance
			}
		}
	}
	for name, serve := range map[string]func(net.Conn){
		"it reads nothing":               func(net.Conn) {},
		"data without end":               flood(strings.Repeat("Please log in. ", 100)),
		"negotiation without end":        flood("\xff\xfb\x01\xff\xfc\x01\xff\xfd\x63"),
		"a subnegotiation without end":   flood("\xff\xfa\x2c" + strings.Repeat("x", 500)),
		"commands without end":           flood("\xff\xfd\x2c" + com("\x6c") + com("\x33") + com("\x65\x00\x00\x25\x80")),
		"queries without end":            flood("\xff\xfd\x2c" + com("\x64")),
		"timing marks without end":       flood("\xff\xfd\x2c\xff\xfd\x01" + doTM),
		"text with control characters":   flood("\x1b]0;owned\x07\x9b2J"),
		"every option there is, in turn": flood(everyOption()),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				var running sync.WaitGroup // ended by the close of either end
				running.Go(func() { serve(far) })
				if name != "it reads nothing" {
					running.Go(func() { _, _ = io.Copy(io.Discard, far) })
				}
				ctx, cancel := context.WithTimeout(t.Context(), probe.DefaultTimeout)
				defer cancel()
				began := time.Now()
				r := probe.OnConn(ctx, near, true)
				if took := time.Since(began); took > probe.DefaultTimeout {
					t.Errorf("it took %v", took)
				}
				_, _ = near.Close(), far.Close()
				running.Wait()
				var text strings.Builder
				if err := r.WriteText(&text); err != nil {
					t.Fatal(err)
				}
				if len(text.String()) > 40<<10 {
					t.Errorf("the report has %d bytes", len(text.String()))
				}
				if i := strings.IndexFunc(text.String(), func(c rune) bool { return c != '\n' && (c < ' ' || c > '~') }); i >= 0 {
					t.Errorf("the report has control characters: %q", text.String()[i:])
				}
			})
		})
	}
}

func everyOption() string {
	var b strings.Builder
	for o := range 255 {
		for _, verb := range []byte("\xfb\xfc\xfd\xfe") {
			b.WriteString("\xff" + string([]byte{verb, byte(o)}))
		}
	}
	return b.String()
}

// A probe that is interrupted ends at once.
func TestProbeIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		go func() { // ended by the cancel
			buf := make([]byte, 16)
			_, _ = far.Read(buf)
			cancel()
		}()
		probe.OnConn(ctx, near, false)
		if took := time.Since(began); took != 0 {
			t.Errorf("it went on for %v", took)
		}
		_, _ = near.Close(), far.Close()
	})
}

// A report that ran out of time says so, and keeps what it has.
func TestProbeRunsOutOfTime(t *testing.T) {
	s := recorded(t, "ser2net-4.3.11")
	maps.DeleteFunc(s.replies, func(m string, _ reply) bool { return strings.HasPrefix(m, "\xff\xfa\x2c\x05") })
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		var running sync.WaitGroup // ended by the close of the near end
		running.Go(func() { s.serve(far) })
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		r := probe.OnConn(ctx, near, false)
		_ = near.Close()
		running.Wait()
		if !r.AccessServer || r.Settings.Baud.Answer != "9600" || len(r.Deviations) == 0 || r.Deviations[0].Name != "time-up" {
			t.Errorf("got %+v", r)
		}
	})
}
