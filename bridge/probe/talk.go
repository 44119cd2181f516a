package probe

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

const (
	readSize  = 32 << 10 // bytes that one read takes at most
	textKept  = 256      // bytes of data that are kept: enough for a banner
	codesKept = 16       // unknown commands that are kept
	verbsKept = 8        // received verbs that are kept in their order
)

// prober is a conversation with a listener. It records what rfc2217.Client hides: each verb, each length, each answer as
// received. Only the goroutine that called Run uses it.
type prober struct {
	conn     net.Conn
	deadline time.Time       // of the whole probe
	stopped  <-chan struct{} // closed when the probe must end, also at its deadline
	thorough bool
	secure   bool   // through TLS
	rawHint  string // what to do if it is a raw port
	buf      []byte

	err        error  // what ended the conversation: an error of the connection, or the deadline
	doing      string // the current step, as a clause that follows "when"
	endedAt    string // the step in which err came
	halfClosed bool   // the probe has closed its half
	bytesIn    uint64

	decoder telnet.Decoder
	options telnet.Options
	opening *rfc2217.Opening

	// What was seen of Telnet.
	verbsIn    [256]verbs
	verbsOut   [256]verbs
	order      []telnet.Option
	firstVerbs []telnet.Message // received
	single     []telnet.Command // bytes after a 255 that are no command
	tooLong    bool
	marks      int // answers to timing marks

	// What was seen of data: the device's, or a text of the server.
	text    []byte
	before  bool // the data began before COM-PORT-OPTION was agreed
	serves  bool // a query was answered
	greeted int  // how many bytes of text came before that
	data    uint64

	// What was seen of COM-PORT-OPTION.
	exchanges      [len(queries)]exchange
	current        int // index of the query that is waiting for its answer; -1: none
	signature      []byte
	signatureAsked bool
	modem          byte
	modemKnown     bool
	suspends       int
	suspended      bool
	several        []byte // the first subnegotiation with more than one command
	short          []byte // the first command without its value
	codes          []rfc2217.Code
	baudBytes      int // the length of a baud rate that is not four bytes
	markRTT        time.Duration
}

func newProber(ctx context.Context, conn net.Conn) *prober {
	p := &prober{conn: conn, buf: make([]byte, readSize), current: -1, doing: "the negotiation began"}
	p.deadline, _ = ctx.Deadline()
	p.stopped = ctx.Done()
	p.opening = rfc2217.NewOpening(&p.options)
	if !p.deadline.IsZero() {
		_ = conn.SetWriteDeadline(p.deadline)
	}
	return p
}

// converse processes what arrives, until done returns true, until a time, or until the conversation ends.
func (p *prober) converse(until time.Time, done func() bool) {
	whole := until
	if !p.deadline.IsZero() {
		until = earlier(until, p.deadline)
	}
	for p.err == nil && !done() {
		if err := p.conn.SetReadDeadline(until); err != nil {
			p.fail(err)
			return
		}
		select {
		case <-p.stopped: // the deadline just set may have replaced the one that stops the probe
			p.fail(os.ErrDeadlineExceeded)
			return
		default:
		}
		n, err := p.conn.Read(p.buf)
		p.take(p.buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && until.Equal(whole):
			return
		case err != nil:
			p.fail(err)
		}
	}
}

func (p *prober) fail(err error) {
	if p.err == nil {
		p.err, p.endedAt = err, p.doing
	}
}

// send sends verbs or commands.
func (p *prober) send(b []byte) {
	if len(b) == 0 || p.err != nil {
		return
	}
	if _, err := p.conn.Write(b); err != nil {
		p.fail(err)
		if p.closedByPeer() {
			p.readLastWords()
		}
	}
}

// readLastWords reads what a listener sent before it closed the connection, as ser2net does if its port is in use.
func (p *prober) readLastWords() {
	if p.conn.SetReadDeadline(time.Now().Add(remote.LastWords)) != nil {
		return
	}
	for {
		n, err := p.conn.Read(p.buf)
		p.take(p.buf[:n])
		if err != nil {
			return
		}
	}
}

// sendVerbs sends verbs that the option machine has appended, and records them.
func (p *prober) sendVerbs(b []byte) {
	for v := b; len(v) >= 3; v = v[3:] {
		if telnet.Option(v[2]) == telnet.TimingMark {
			continue
		}
		p.note(&p.verbsOut, telnet.Command(v[1]), telnet.Option(v[2]))
	}
	p.send(b)
}

// take processes the bytes of one read.
func (p *prober) take(b []byte) {
	p.bytesIn += uint64(len(b))
	for len(b) > 0 {
		data, m, rest := p.decoder.Decode(b)
		b = rest
		if len(data) > 0 {
			p.opening.Data(data, time.Now())
			p.keep(data)
		}
		if m.Command != 0 {
			p.message(m)
		}
	}
}

// keep counts data, and keeps its first textKept bytes.
func (p *prober) keep(data []byte) {
	p.before = p.before || len(p.text) == 0 && !p.agreed()
	p.data += uint64(len(data))
	p.text = append(p.text, data[:min(len(data), textKept-len(p.text))]...)
}

// message processes a Telnet command.
func (p *prober) message(m telnet.Message) {
	if m.Command.Verb() {
		p.verb(m)
		return
	}
	p.opening.Command(m, time.Now())
	if m.Command < telnet.SE && !p.opening.Telnet() {
		p.keep([]byte{byte(telnet.IAC), byte(m.Command)}) // as the opening does
	}
	switch {
	case m.TooLong:
		p.tooLong = true
	case m.Command == telnet.SB:
		if m.Option == telnet.ComPort {
			p.comPort(m.Sub)
		}
	case m.Command < telnet.SE && len(p.single) < codesKept:
		p.single = append(p.single, m.Command)
	}
}

func (p *prober) verb(m telnet.Message) {
	verbs := p.opening.Verb(nil, m, time.Now())
	if m.Option == telnet.TimingMark { // it has no state, so the report does not list it
		if m.Command == telnet.WILL || m.Command == telnet.WONT {
			p.marks++
		}
		p.send(verbs)
		return
	}
	if len(p.firstVerbs) < verbsKept {
		p.firstVerbs = append(p.firstVerbs, telnet.Message{Command: m.Command, Option: m.Option})
	}
	p.note(&p.verbsIn, m.Command, m.Option)
	p.sendVerbs(verbs)
}

// comPort processes a subnegotiation of COM-PORT-OPTION.
func (p *prober) comPort(sub []byte) {
	whole := sub
	for n := 0; len(sub) > 0; n++ {
		if n == 1 && p.several == nil {
			p.several = slices.Clone(whole[:min(len(whole), 16)])
		}
		cmd, rest, err := rfc2217.ParseCommand(sub)
		if err != nil {
			if p.short == nil {
				p.short = slices.Clone(sub)
			}
			return
		}
		p.command(cmd, sub[1:len(sub)-len(rest)])
		sub = rest
	}
}

// command processes one command of the server; value is what came after its code.
func (p *prober) command(cmd rfc2217.Command, value []byte) {
	switch code := cmd.Code; {
	case code == rfc2217.Signature+rfc2217.FromServer && len(cmd.Text) == 0:
		p.send(rfc2217.AppendCommand(nil, rfc2217.Command{Code: rfc2217.Signature, Text: []byte("telnetcpc")}))
	case code == rfc2217.Signature+rfc2217.FromServer:
		p.signature = slices.Clone(cmd.Text)
	case code >= rfc2217.SetBaudRate+rfc2217.FromServer && code <= rfc2217.SetControl+rfc2217.FromServer:
		p.assignAnswer(cmd, value)
	case code == rfc2217.NotifyModemState+rfc2217.FromServer:
		p.modem, p.modemKnown = cmd.Value, true
	case code == rfc2217.FlowSuspend+rfc2217.FromServer:
		p.suspends++
		p.suspended = true
	case code == rfc2217.FlowResume+rfc2217.FromServer:
		p.suspended = false
	case code > rfc2217.FromServer && code <= rfc2217.PurgeData+rfc2217.FromServer:
		// A line state, or the answer to a query that was not sent: harmless.
	case len(p.codes) < codesKept && !slices.Contains(p.codes, code):
		p.codes = append(p.codes, code)
	}
}

// verbs is a set of WILL, WONT, DO, DONT.
type verbs uint8

func (v verbs) words() []string {
	list := []string{}
	for c := telnet.WILL; c <= telnet.DONT; c++ {
		if v&(1<<(c-telnet.WILL)) != 0 {
			list = append(list, c.String())
		}
	}
	return list
}

// note records a verb as received or sent.
func (p *prober) note(in *[256]verbs, verb telnet.Command, o telnet.Option) {
	if p.verbsIn[o]|p.verbsOut[o] == 0 {
		p.order = append(p.order, o)
	}
	in[o] |= 1 << (verb - telnet.WILL)
}

// received reports whether the server has sent a verb about an option.
func (p *prober) received(verb telnet.Command, o telnet.Option) bool {
	return p.verbsIn[o]&(1<<(verb-telnet.WILL)) != 0
}

// hexOf formats bytes as "64 73 65".
func hexOf(p []byte) string {
	s := ""
	for i, c := range p {
		if i > 0 {
			s += " "
		}
		s += hex.EncodeToString([]byte{c})
	}
	return s
}
