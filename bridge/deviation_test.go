package bridge_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// What real servers do beyond RFC 2217, and what this program does about it, each topic once. The server's bytes are
// recorded ones (rfc2217/testdata/trace) or, for servers that were not available, as their users describe them. The
// server is played over real TCP to the real client; only its UART is missing.

const (
	ser2net = "fffb03fffd03fffb01fffe01fffd00fffb00fffd2c" // its opening
	pyOpen  = "fffb01fffb03fffd00fffb2c"                   // pyserial's, before our WILL
	only44  = "fffd2c"                                     // a small server's answer to our WILL

	// The answers to 9600 8N1 without flow control, as requested.
	answered = "fffa2c6500002580fff0fffa2c6701fff0fffa2c6608fff0fffa2c6801fff0fffa2c6901fff0"
	// And the commands that request it.
	state = "SB 0100002580, SB 0301, SB 0208, SB 0401"
)

// deviation is one topic.
type deviation struct {
	topic  string
	config remote.Options
	hello  string // what the server sends at once, hex
	// reply is what it sends when the client has sent these verbs or subnegotiations, as verbs formats them, in part.
	reply []exchange
	app   func(*uarttest.Port) // what the application does when it has opened the port
	late  bool                 // it does so when the session is up
	sends []string             // the client sends these, in this order, perhaps with others between
	never []string             // and none of these
	port  []string             // what the application sees, in this order: "data x", "modem CTS", "line parity"
	log   []string             // the one line for people, in part; none: nothing beyond the lines of every session
}

type exchange struct{ after, send string } // marks are always answered

var deviations = []deviation{
	{topic: "who speaks first: the server", hello: ser2net, reply: []exchange{{state, answered}},
		sends: []string{"WILL COM-PORT", state}},
	{topic: "who speaks first: the client", reply: []exchange{{"WILL COM-PORT", only44}, {state, answered}},
		sends: []string{"WILL COM-PORT", state}, never: []string{"DO ", "DONT ", "BINARY", "TIMING-MARK"}},
	{topic: "who speaks first: WILL 44, and DO after our WILL (pyserial, esptool)", hello: pyOpen,
		reply: []exchange{{"WILL COM-PORT", only44}, {state, answered}}, sends: []string{"WILL COM-PORT", "DO COM-PORT", state}},
	{topic: "ser2net's opening: neither side echoes", hello: ser2net, reply: []exchange{{state, answered}},
		sends: []string{"DO SGA", "WILL BINARY", "DO BINARY", "WILL SGA", "DONT ECHO"}, never: []string{"DO ECHO", "WILL ECHO"}},
	{topic: "mask answers: with 106 and 107 (ser2net), with a trimmed value (hub4com)", hello: ser2net,
		reply: []exchange{{"SB 0a5e", answered + "fffa2c6a00fff0fffa2c6e40fff0fffa2c6b00fff0"}}, sends: []string{state, "SB 0a5e"}, port: []string{"modem none"}},
	{topic: "break: BREAK-OFF answered as on (ser2net)", hello: ser2net,
		reply: []exchange{{state, answered}, {"SB 0506", "fffa2c6905fff0"}},
		app: func(p *uarttest.Port) {
			p.AppSet(uart.Event{Control: uart.Control{Break: uart.LevelOn}})
			p.AppSet(uart.Event{Control: uart.Control{Break: uart.LevelOff}})
		},
		late:  true,
		sends: []string{"SB 0505", "SB 0506"}},
	{topic: "DTR, RTS: answered with the flow control (sredird)", hello: ser2net,
		reply: []exchange{{state, answered}, {"SB 050b", "fffa2c6903fff0fffa2c6903fff0"}},
		app: func(p *uarttest.Port) {
			p.AppSet(uart.Event{Control: uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn}})
		},
		sends: []string{"SB 0508, SB 050b"}, log: []string{`did not answer a setting; going on" port=ttyV0 asked="DTR on RTS on"`}},
	{topic: "unknown values: 921600 becomes 9600 (sredird)", hello: ser2net, reply: []exchange{{"SB 01000e1000", answered}},
		app:   func(p *uarttest.Port) { p.AppSet(uart.Event{Coding: uart.Coding{Baud: 921600}}) },
		sends: []string{"SB 01000e1000"}, log: []string{`did not accept a setting; going on" port=ttyV0 asked=921600 answer=9600`}},
	{topic: "unknown values: no answer to 1.5 stop bits (ser2net)", hello: ser2net,
		reply: []exchange{{"SB 0403", strings.Replace(answered, "fffa2c6801fff0", "", 1)}},
		app:   func(p *uarttest.Port) { p.AppSet(uart.Event{Coding: uart.Coding{StopBits: uart.Stop1Half}}) },
		sends: []string{"SB 0403"}, log: []string{`did not answer a setting; going on" port=ttyV0 asked=??1.5`}},
	{topic: "repeats: answers twice, late, in another order", hello: ser2net,
		reply: []exchange{{state, "fffa2c65000004b0fff0" + "fffa2c6801fff0" + answered + answered + "fffa2c65000004b0fff0"}}, sends: []string{state}},
	{topic: "repeats: no answer if nothing changes (hub4com)", hello: ser2net, reply: []exchange{{state, "fffa2c6901fff0"}},
		sends: []string{state}, log: []string{`did not answer a setting; going on" port=ttyV0 asked="9600 8N1"`}},
	{topic: "8-byte baud (sredird)", hello: ser2net, reply: []exchange{{state, strings.Replace(answered, "00002580", "0000258000000000", 1)}},
		sends: []string{state}},
	{topic: "0xFF: none is sent unless necessary", hello: ser2net, reply: []exchange{{state, answered}},
		sends: []string{state}, never: []string{"SB 0b"}},
	{topic: "0xFF: a baud rate that has one is sent with it doubled", hello: ser2net, reply: []exchange{{"SB 010000ff00", strings.Replace(answered, "00002580", "0000ffff00", 1)}},
		app: func(p *uarttest.Port) { p.AppSet(uart.Event{Coding: uart.Coding{Baud: 65280}}) }, sends: []string{"SB 010000ff00"}},
	{topic: "0xFF: sent unescaped (a Rust server)", hello: only44, reply: []exchange{{state, answered + "61ff62"}},
		sends: []string{state}, log: []string{"sends 0xFF without doubling it"}},
	{topic: "CTS mask: left at its default, which has the delta bits", hello: ser2net, reply: []exchange{{state, answered + "fffa2c6b11fff0"}},
		sends: []string{state}, never: []string{"SB 0b"}, port: []string{"modem CTS"}},
	{topic: "queries: never asked as part of a session", hello: ser2net, reply: []exchange{{state, answered}},
		sends: []string{state}, never: []string{"SB 0100000000", "SB 0200", "SB 0300", "SB 0400", "SB 0500", "SB 0504", "SB 0507", "SB 050a", "SB 050d", "SB 00"}},
	{topic: "lengths: a baud rate has four bytes (Cisco's one-byte codes, too)", hello: ser2net, reply: []exchange{{"SB 0100000032", answered}},
		app: func(p *uarttest.Port) { p.AppSet(uart.Event{Coding: uart.Coding{Baud: 50}}) }, sends: []string{"SB 0100000032"},
		log: []string{"did not accept a setting"}},
	{topic: "refused COM-PORT", hello: "fffb03fffd03fffb01fffe01fffd00fffb00", reply: []exchange{{"WILL COM-PORT", "fffe2c"}},
		sends: []string{"WILL COM-PORT"}, never: []string{"SB "}, log: []string{"refuses COM-PORT-OPTION (enable RFC 2217 on the server; telnet://"}},
	{topic: "refused COM-PORT: a server that crashes on WONT and DONT gets none", hello: "fffd2cfffd00", reply: []exchange{{state, answered}},
		sends: []string{"WILL BINARY"}, never: []string{"WONT", "DONT"}},
	{topic: "modem state: at once, and every change twice (sredird)", hello: ser2net,
		reply: []exchange{{state, answered + "fffa2c6bbbfff0fffa2c6bb0fff0fffa2c6b31fff0fffa2c6b30fff0"}},
		sends: []string{state}, port: []string{"modem CTS|DSR|DCD", "modem CTS|DSR"}},
	{topic: "suspend and resume: hundreds of them (sredird)", hello: ser2net,
		reply: []exchange{{state, answered + strings.Repeat("fffa2c6cfff0fffa2c6dfff0", 300)}},
		app:   func(p *uarttest.Port) { _, _ = p.AppWrite([]byte("data")) }, sends: []string{state, `"data"`}, never: []string{"SB 08", "SB 09"}},
	{topic: "purge", hello: ser2net, reply: []exchange{{state, answered}, {"SB 0c02", "fffa2c7002fff0fffa2c7002fff0"}},
		app: func(p *uarttest.Port) { p.AppPurge(uart.PurgeTx) }, late: true, sends: []string{state, "SB 0c02"}},
	{topic: "second client: negotiates, reports it, closes (ser2net)", hello: ser2net + "506f727420616c726561647920696e207573650d0a",
		sends: []string{"WILL COM-PORT"}, never: []string{"SB "}, log: []string{"the access server's port is in use by another client"}},
	{topic: "our FIN: only after the mark and the line time", hello: ser2net, reply: []exchange{{state, answered}},
		app: func(p *uarttest.Port) {
			_, _ = p.AppWrite([]byte("last"))
			p.AppClose()
		}, sends: []string{`"last"`, "DO TIMING-MARK", "FIN"}},
	{topic: "Telnet commands: none is ever sent", hello: ser2net, reply: []exchange{{state, answered}}, sends: []string{state},
		never: []string{"NOP", "AYT", "AO", "IP", "DM", "BRK"}},
	{topic: "mark: WONT is an answer", hello: ser2net, reply: []exchange{{state, answered}},
		app: func(p *uarttest.Port) {
			_, _ = p.AppWrite([]byte("x"))
			_ = p.AppDrain()
		}, sends: []string{`"x"`, "DO TIMING-MARK"}},
	{topic: "TEMT: requested, and never reported", hello: ser2net, reply: []exchange{{"SB 0a5e", answered}}, sends: []string{state, "SB 0a5e"}},
	{topic: "no answers at all (gensiot)", hello: ser2net, sends: []string{state},
		log: []string{`did not answer a setting; going on" port=ttyV0 asked="9600 8N1 none"`}},
	{topic: "other: a banner before the negotiation", hello: "68656c6c6f2d62616e6e65720d0a" + ser2net, reply: []exchange{{state, answered}},
		sends: []string{state}, log: []string{`greeting dropped`}},
	{topic: "other: a banner after the negotiation, before the answers (ser2net)", hello: "fffd2c", reply: []exchange{
		{"WILL COM-PORT", "fffa2c6bb0fff068656c6c6f2d62616e6e65720d0a"}, {state, answered + "61"}},
		sends: []string{state}, port: []string{"data a"}, log: []string{`dropped=14`}},
	{topic: "other: a banner that is wanted", config: remote.Options{Quirks: rfc2217.KeepGreeting}, hello: "68656c6c6f2d62616e6e65720d0a" + ser2net,
		reply: []exchange{{state, answered}}, sends: []string{state}, port: []string{"data hello-banner\r\n"}},
	{topic: "other: DO BINARY alone, SGA refused", hello: "fffd00fffd2c", reply: []exchange{{"WILL SGA", "fffe03fffc03"}, {state, answered}},
		sends: []string{"WILL BINARY", state}},

	{topic: "esp-link: answers nothing, single 255", config: remote.Options{Quirks: rfc2217.SingleFF}, reply: []exchange{{"WILL COM-PORT", only44}, {state, "61ff62ffff63"}},
		sends: []string{"WILL COM-PORT", state}, never: []string{"DO ", "TIMING-MARK", "BINARY"}, port: []string{"data a\xffb\xff\xffc"},
		log: []string{`did not answer a setting; going on"`}},
	{topic: "Lantronix: several commands in one subnegotiation", hello: ser2net, reply: []exchange{{state, answered + "fffa2c6c6b00fff0fffa2c6dfff0"}},
		app: func(p *uarttest.Port) { _, _ = p.AppWrite([]byte("data")) }, sends: []string{state, `"data"`}, port: []string{"modem none"}},
	{topic: "Lantronix: suspends and does not resume", config: remote.Options{Quirks: rfc2217.SuspendIgnore}, hello: ser2net,
		reply: []exchange{{state, answered + "fffa2c6c6b00fff0"}},
		app:   func(p *uarttest.Port) { _, _ = p.AppWrite([]byte("data")) }, sends: []string{state, `"data"`}},
	{topic: "Moxa: Real COM is not Telnet", reply: []exchange{{"WILL COM-PORT", "0100020003"}}, sends: []string{"WILL COM-PORT"},
		never: []string{"SB "}, log: []string{"not an RFC 2217 access server: it sent \\\"\\\\x01\\\\x00\\\\x02\\\\x00\\\\x03\\\" (a raw port?"}},
	{topic: "SENA: RTS is not driven", hello: ser2net, reply: []exchange{{state, answered}},
		app:   func(p *uarttest.Port) { p.AppSet(uart.Event{Control: uart.Control{RTS: uart.LevelOn}}) },
		sends: []string{"SB 050b"}, log: []string{`asked="RTS on"`}},
	{topic: "HW group: private codes, AYT is never sent", hello: ser2net, reply: []exchange{{state, answered + "fffa2c3301fff0fffa2c970203fff061"}},
		sends: []string{state}, never: []string{"AYT"}, port: []string{"data a"}},
	{topic: "USR-IOT: its packet is data", hello: ser2net, reply: []exchange{{state, answered + "55aa5500258083"}},
		sends: []string{state}, port: []string{"data U\xaaU\x00%\x80\x83"}},
}

// usual are the log lines of every session.
var usual = []string{"port ready", "not carried here", "port opened", "port closed", "session up", "session closed", "settings"}

func TestDeviations(t *testing.T) {
	for _, d := range deviations {
		t.Run(d.topic, func(t *testing.T) {
			t.Parallel()
			d.run(t)
		})
	}
}

func (d deviation) run(t *testing.T) {
	s := playServer(t, d.hello, d.reply)
	url, err := remote.Parse(s.address)
	if err != nil {
		t.Fatal(err)
	}
	log := new(logLines)
	logger := slog.New(slog.NewTextHandler(log, nil)).With("port", "ttyV0")
	d.config.AckTimeout, d.config.Log = time.Minute, logger
	if d.log != nil { // it may come with the time that an answer has: without a log line there is more time, for a busy machine
		d.config.AckTimeout = 200 * time.Millisecond
	}
	r, err := remote.New(url, d.config)
	if err != nil {
		t.Fatal(err)
	}
	ports := make(chan *uarttest.Port, 1)
	b := bridge.New(bridge.Config{
		Name: "ttyV0", Path: "/dev/ttyV0", Remote: r, Log: logger, Policy: bridge.Policy{Linger: new(time.Millisecond)},
		Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
			p := uarttest.NewPort(c)
			ports <- p
			return p, nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- b.Run(ctx) }()
	p := <-ports
	seen := watchPort(p)
	p.AppSet(uart.Event{Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}) // before the session is up in any case
	p.AppOpen()
	wait := func(what string, whole func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !whole(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s has not come\nthe client sent %s\nthe application saw %q\nthe log has %q", what, s.sentWords(), seen.all(p), log.news())
				return
			}
		}
	}
	if d.late {
		wait("the session", func() bool { return b.Status().Link == bridge.LinkUp })
	}
	if d.app != nil {
		d.app(p)
	}
	wait(fmt.Sprintf("%q from the client", d.sends), func() bool { return inOrder(s.sentWords(), d.sends) })
	wait(fmt.Sprintf("%q at the application", d.port), func() bool { return inOrder(strings.Join(seen.all(p), "; "), d.port) })
	wait(fmt.Sprintf("%q in the log", d.log), func() bool { return inOrder(strings.Join(log.news(), "\n"), d.log) })
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	for _, word := range d.never {
		if strings.Contains(s.sentWords(), word) {
			t.Errorf("the client sent %q in %s", word, s.sentWords())
		}
	}
	if news := log.news(); len(news) > max(len(d.log), 0) {
		t.Errorf("the log has %q, want one line: %q", news, d.log)
	}
}

// inOrder reports whether text has all of the parts, one after the other.
func inOrder(text string, parts []string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// watched is what the application reads.
type watched struct {
	mu   sync.Mutex
	data []byte
}

// watchPort reads the port until it has ended.
func watchPort(p *uarttest.Port) *watched {
	w := &watched{}
	go func() {
		buf := make([]byte, 4096)
		for !p.Closed() {
			n, err := p.AppRead(buf)
			w.mu.Lock()
			w.data = append(w.data, buf[:n]...)
			w.mu.Unlock()
			if err != nil {
				time.Sleep(time.Millisecond) // not open yet
			}
		}
	}()
	return w
}

func (w *watched) all(p *uarttest.Port) (words []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.data) > 0 {
		words = append(words, "data "+string(w.data))
	}
	for i, m := range p.Modems() {
		if i > 0 { // the first is what a new session shows
			words = append(words, "modem "+m.String())
		}
	}
	for _, r := range p.Reports(0) {
		words = append(words, "line "+r.State.String())
	}
	return words
}

// logLines keeps what is logged.
type logLines struct{ testenv.Output }

// news are the lines that not every session has, each once.
func (l *logLines) news() (lines []string) {
	for line := range strings.Lines(l.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), "msg=")
		ordinary := slices.ContainsFunc(usual, func(u string) bool { return strings.HasPrefix(strings.TrimPrefix(line, `"`), u) })
		if !ordinary && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// played is the access server of one test: it sends what was recorded once the client has sent what that answers.
type played struct {
	address string

	mu    sync.Mutex
	words []string
}

func playServer(t *testing.T, hello string, replies []exchange) *played {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &played{address: listener.Addr().String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { s.serve(conn, hello, replies) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Wait()
	})
	return s
}

func (s *played) serve(conn net.Conn, hello string, replies []exchange) {
	defer func() { _ = conn.Close() }()
	send := func(s string) {
		p, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write(p)
	}
	send(hello)
	var here []string // on this connection
	var d telnet.Decoder
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		for src := buf[:n]; len(src) > 0; {
			data, m, rest := d.Decode(src)
			src = rest
			if len(data) > 0 {
				here = s.add(here, fmt.Sprintf("%q", data))
			}
			switch {
			case m.Command == telnet.SB:
				here = s.add(here, "SB "+hex.EncodeToString(m.Sub))
			case m.Command.Verb():
				here = s.add(here, m.Command.String()+" "+m.Option.String())
				if m.Command == telnet.DO && m.Option == telnet.TimingMark {
					send("fffc06") // as all recorded servers do
				}
			case m.Command != 0:
				here = s.add(here, m.Command.String())
			}
		}
		for len(replies) > 0 && strings.Contains(strings.Join(here, ", "), replies[0].after) {
			send(replies[0].send)
			replies = replies[1:]
		}
		if err != nil {
			if err == io.EOF {
				s.add(nil, "FIN")
			}
			return
		}
	}
}

func (s *played) add(here []string, word string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.words = append(s.words, word)
	return append(here, word)
}

func (s *played) sentWords() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.words, ", ")
}
