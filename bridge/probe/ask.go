package probe

import (
	"slices"
	"strconv"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

const (
	// markWait is how long to wait for the answer to a timing mark.
	markWait = 2 * time.Second
	// signatureWait is how long to wait for the signature.
	signatureWait = time.Second
	// The wait for an answer is three times the longest round trip measured, within shortestWait and longestWait; it is
	// unknownWait for a server that has not answered yet. A later answer counts too, as long as the probe runs.
	shortestWait, longestWait, unknownWait = 300 * time.Millisecond, 2 * time.Second, time.Second
)

// query requests one setting: a command with the value 0, or one of SET-CONTROL's request values.
type query struct {
	name    string
	command rfc2217.Command
	of      func(*Settings) *Setting
	answers []rfc2217.Control // the values of SET-CONTROL that answer it; nil: any
	word    func(uart.Event) string
}

var queries = [...]query{
	{"baud rate", rfc2217.Command{Code: rfc2217.SetBaudRate}, func(s *Settings) *Setting { return &s.Baud }, nil,
		func(e uart.Event) string { return strconv.FormatUint(uint64(e.Coding.Baud), 10) }},
	{"data size", rfc2217.Command{Code: rfc2217.SetDataSize}, func(s *Settings) *Setting { return &s.DataSize }, nil,
		func(e uart.Event) string { return number(e.Coding.DataBits) }},
	{"parity", rfc2217.Command{Code: rfc2217.SetParity}, func(s *Settings) *Setting { return &s.Parity }, nil,
		func(e uart.Event) string { return parityWords[e.Coding.Parity] }},
	{"stop size", rfc2217.Command{Code: rfc2217.SetStopSize}, func(s *Settings) *Setting { return &s.StopSize }, nil,
		func(e uart.Event) string { return stopBits(e.Coding.StopBits) }},
	{"outbound flow control", control(rfc2217.AskFlowOut), func(s *Settings) *Setting { return &s.FlowOut },
		[]rfc2217.Control{rfc2217.AskFlowOut, rfc2217.FlowOutNone, rfc2217.FlowOutXonXoff, rfc2217.FlowOutRTSCTS, rfc2217.FlowOutDCD, rfc2217.FlowOutDSR},
		func(e uart.Event) string { return e.Flow.Out.String() }},
	{"inbound flow control", control(rfc2217.AskFlowIn), func(s *Settings) *Setting { return &s.FlowIn },
		[]rfc2217.Control{rfc2217.AskFlowIn, rfc2217.FlowInNone, rfc2217.FlowInXonXoff, rfc2217.FlowInRTSCTS, rfc2217.FlowInDTR},
		func(e uart.Event) string { return e.Flow.In.String() }},
	{"DTR", control(rfc2217.AskDTR), func(s *Settings) *Setting { return &s.DTR },
		[]rfc2217.Control{rfc2217.AskDTR, rfc2217.DTROn, rfc2217.DTROff},
		func(e uart.Event) string { return e.Control.DTR.String() }},
	{"RTS", control(rfc2217.AskRTS), func(s *Settings) *Setting { return &s.RTS },
		[]rfc2217.Control{rfc2217.AskRTS, rfc2217.RTSOn, rfc2217.RTSOff},
		func(e uart.Event) string { return e.Control.RTS.String() }},
	{"break", control(rfc2217.AskBreak), func(s *Settings) *Setting { return &s.Break },
		[]rfc2217.Control{rfc2217.AskBreak, rfc2217.BreakOn, rfc2217.BreakOff},
		func(e uart.Event) string { return e.Control.Break.String() }},
}

// Indices in queries.
const (
	queryBaud  = 0
	queryDTR   = 6
	queryRTS   = 7
	queryBreak = 8
)

var parityWords = map[uart.Parity]string{
	uart.ParityNone: "none", uart.ParityOdd: "odd", uart.ParityEven: "even", uart.ParityMark: "mark", uart.ParitySpace: "space",
}

func control(c rfc2217.Control) rfc2217.Command {
	return rfc2217.Command{Code: rfc2217.SetControl, Value: byte(c)}
}

func number(n uint8) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

func stopBits(s uart.StopBits) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

// exchange is a query and its answer.
type exchange struct {
	sent   bool
	sentAt time.Time

	answered bool
	value    []byte // the answer's value as received, 16 bytes at most
	cmd      rfc2217.Command
	rtt      time.Duration // 0: the answer came after the next query was sent
}

// setting returns the answer to query i in the form of a report.
func (e exchange) setting(i int) Setting {
	s := Setting{Asked: e.sent, Bytes: hexOf(e.value)}
	if e.answered {
		s.Answer = queries[i].word(e.cmd.Setting())
	}
	return s
}

// returnsQuery reports whether the answer to query i is the query itself.
func (e exchange) returnsQuery(i int) bool {
	return e.answered && e.cmd.Value == queries[i].command.Value && e.cmd.Baud == 0 && queries[i].word(e.cmd.Setting()) == ""
}

// sendsQueries reports whether this server is queried for its settings.
func (p *prober) sendsQueries() bool { return p.opening.Negotiates() || p.thorough }

// mark requests a timing mark (RFC 860): its answer gives the round-trip time and means that the server has processed
// everything before it.
func (p *prober) mark() {
	if !p.opening.Negotiates() {
		return
	}
	p.doing = "it was asked for a timing mark"
	p.marks = 0 // the opening may have requested one
	asked := time.Now()
	p.send(telnet.AppendVerb(nil, telnet.DO, telnet.TimingMark))
	p.converse(asked.Add(markWait), func() bool { return p.marks > 0 })
	if p.marks > 0 {
		p.markRTT = time.Since(asked)
	}
}

// query requests the current settings, one query after the other, because some answers do not identify their query.
func (p *prober) query() {
	if !p.sendsQueries() {
		return
	}
	unanswered := 0
	for i, q := range queries {
		if p.err != nil {
			break
		}
		p.doing = "it was asked about " + q.name
		p.current = i
		e := &p.exchanges[i]
		e.sent, e.sentAt = true, time.Now()
		p.send(rfc2217.AppendCommand(nil, q.command))
		p.converse(e.sentAt.Add(p.answerWait(unanswered)), func() bool { return e.answered })
		if !e.answered {
			unanswered++
		}
	}
	p.current = -1
	p.doing = "all queries were done"
}

// answerWait returns how long to wait for the next answer, after that many queries in a row without one.
func (p *prober) answerWait(unanswered int) time.Duration {
	longest := p.markRTT
	for _, e := range p.exchanges {
		longest = max(longest, e.rtt)
	}
	if longest == 0 && unanswered < 2 {
		return unknownWait
	}
	return min(max(3*longest, shortestWait), longestWait)
}

// assignAnswer assigns an answer to its query: by its value, or to the current query if no query that can have this value
// is open.
func (p *prober) assignAnswer(cmd rfc2217.Command, value []byte) {
	i := slices.IndexFunc(queries[:], func(q query) bool {
		return q.command.Code+rfc2217.FromServer == cmd.Code &&
			(q.answers == nil || slices.Contains(q.answers, rfc2217.Control(cmd.Value)))
	})
	if i < 0 || !p.exchanges[i].sent || p.exchanges[i].answered {
		if p.current < 0 || queries[p.current].command.Code+rfc2217.FromServer != cmd.Code {
			return
		}
		i = p.current
	}
	e := &p.exchanges[i]
	if e.answered {
		return
	}
	if !p.serves {
		p.serves, p.greeted = true, len(p.text)
	}
	e.answered, e.cmd, e.value = true, cmd, slices.Clone(value[:min(len(value), 16)])
	if i == p.current {
		e.rtt = time.Since(e.sentAt)
	}
	if cmd.Code == rfc2217.SetBaudRate+rfc2217.FromServer && len(value) != 4 {
		p.baudBytes = len(value)
	}
}

// asksSignature reports whether this server is asked for its signature. Of the recorded servers, those that do not report
// the modem state unasked crashed or hung up when asked for it.
func (p *prober) asksSignature() bool { return p.thorough || p.opening.Negotiates() && p.modemKnown }

func (p *prober) askSignature() {
	if !p.asksSignature() || p.err != nil {
		return
	}
	p.doing = "it was asked for its signature"
	p.signatureAsked = true
	p.send(rfc2217.AppendCommand(nil, rfc2217.Command{Code: rfc2217.Signature}))
	p.converse(time.Now().Add(signatureWait), func() bool { return p.signature != nil })
}

func (p *prober) reportRTT() (r RTT) {
	if p.marks > 0 {
		r.TimingMark = milliseconds(p.markRTT)
	}
	var all []time.Duration
	for _, e := range p.exchanges {
		if e.answered && e.rtt > 0 {
			all = append(all, e.rtt)
		}
	}
	if len(all) > 0 {
		slices.Sort(all)
		r.AnswerMin, r.AnswerMedian, r.AnswerMax = milliseconds(all[0]), milliseconds(all[len(all)/2]), milliseconds(all[len(all)-1])
	}
	return r
}

// milliseconds rounds to 0.01 ms: smaller differences are noise of this machine.
func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
	return &ms
}
