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
	// markWait is how long the answer to a timing mark is waited for.
	markWait = 2 * time.Second
	// signatureWait is how long the signature is waited for.
	signatureWait = time.Second
	// An answer is waited for three of the longest round trips seen, within these. One that comes later counts too, as
	// long as the probe runs. The last is for servers that have not answered once.
	shortestWait, longestWait, unknownWait = 300 * time.Millisecond, 2 * time.Second, time.Second
)

// question asks for one setting: a command with the value 0, or one of SET-CONTROL's questions.
type question struct {
	name  string
	ask   rfc2217.Command
	of    func(*Settings) *Setting
	means []rfc2217.Control // the values of SET-CONTROL that answer it
	word  func(uart.Event) string
}

var questions = [...]question{
	{"baud rate", rfc2217.Command{Code: rfc2217.SetBaudRate}, func(s *Settings) *Setting { return &s.Baud }, nil,
		func(e uart.Event) string { return strconv.FormatUint(uint64(e.Coding.Baud), 10) }},
	{"data size", rfc2217.Command{Code: rfc2217.SetDataSize}, func(s *Settings) *Setting { return &s.DataSize }, nil,
		func(e uart.Event) string { return number(e.Coding.DataBits) }},
	{"parity", rfc2217.Command{Code: rfc2217.SetParity}, func(s *Settings) *Setting { return &s.Parity }, nil,
		func(e uart.Event) string { return parityWords[e.Coding.Parity] }},
	{"stop size", rfc2217.Command{Code: rfc2217.SetStopSize}, func(s *Settings) *Setting { return &s.StopSize }, nil,
		func(e uart.Event) string { return said(e.Coding.StopBits) }},
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

// The places of the questions that a deviation is about.
const (
	askedBaud  = 0
	askedDTR   = 6
	askedRTS   = 7
	askedBreak = 8
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

func said(s uart.StopBits) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

// answer is what is known of one question.
type answer struct {
	asked bool
	at    time.Time // when
	came  bool
	value []byte
	cmd   rfc2217.Command
	rtt   time.Duration // 0: it came after the next question was asked
}

// setting is the answer as a report has it.
func (a answer) setting(i int) Setting {
	s := Setting{Asked: a.asked, Bytes: hexOf(a.value)}
	if a.came {
		s.Answer = questions[i].word(a.cmd.Setting())
	}
	return s
}

// returned reports whether the answer is the question itself.
func (a answer) returned(i int) bool {
	return a.came && a.cmd.Value == questions[i].ask.Value && a.cmd.Baud == 0 && questions[i].word(a.cmd.Setting()) == ""
}

// asks reports whether this server is asked for values.
func (p *prober) asks() bool { return p.opening.Negotiates() || p.thorough }

// mark asks for a timing mark (RFC 860): its answer says how long a round trip takes, and that everything before it
// was taken.
func (p *prober) mark() {
	if !p.opening.Negotiates() {
		return
	}
	p.doing = "it was asked for a timing mark"
	p.marks = 0 // the opening may have asked for one
	asked := time.Now()
	p.send(telnet.AppendVerb(nil, telnet.DO, telnet.TimingMark))
	p.listen(asked.Add(markWait), func() bool { return p.marks > 0 })
	if p.marks > 0 {
		p.markRTT = time.Since(asked)
	}
}

// ask asks what is in force, one question after the other: an answer does not always say what it is the answer to.
func (p *prober) ask() {
	if !p.asks() {
		return
	}
	unanswered := 0
	for i, q := range questions {
		if p.err != nil {
			break
		}
		p.doing = "it was asked about " + q.name
		p.current = i
		a := &p.answers[i]
		a.asked, a.at = true, time.Now()
		p.send(rfc2217.AppendCommand(nil, q.ask))
		p.listen(a.at.Add(p.patience(unanswered)), func() bool { return a.came })
		if !a.came {
			unanswered++
		}
	}
	p.current = -1
	p.doing = "it had been asked for everything"
}

// patience is how long to wait for an answer, when so many have not come.
func (p *prober) patience(unanswered int) time.Duration {
	longest := p.markRTT
	for _, a := range p.answers {
		longest = max(longest, a.rtt)
	}
	if longest == 0 && unanswered < 2 {
		return unknownWait
	}
	return min(max(3*longest, shortestWait), longestWait)
}

// answered takes an answer to a question. Answers are matched by what they say; one that says what nobody is waiting
// for belongs to the question that is being asked.
func (p *prober) answered(cmd rfc2217.Command, value []byte) {
	i := slices.IndexFunc(questions[:], func(q question) bool {
		return q.ask.Code+rfc2217.FromServer == cmd.Code &&
			(q.means == nil || slices.Contains(q.means, rfc2217.Control(cmd.Value)))
	})
	if i < 0 || !p.answers[i].asked || p.answers[i].came {
		if p.current < 0 || questions[p.current].ask.Code+rfc2217.FromServer != cmd.Code {
			return
		}
		i = p.current
	}
	a := &p.answers[i]
	if a.came {
		return
	}
	if !p.serves {
		p.serves, p.greeted = true, len(p.text)
	}
	a.came, a.cmd, a.value = true, cmd, slices.Clone(value[:min(len(value), 16)])
	if i == p.current {
		a.rtt = time.Since(a.at)
	}
	if cmd.Code == rfc2217.SetBaudRate+rfc2217.FromServer && len(value) != 4 {
		p.baudBytes = len(value)
	}
}

// asksSignature reports whether this server is asked for its signature. Of the recorded servers, those that do not tell
// the modem state by themselves died of the question.
func (p *prober) asksSignature() bool { return p.thorough || p.opening.Negotiates() && p.modemTold }

func (p *prober) askSignature() {
	if !p.asksSignature() || p.err != nil {
		return
	}
	p.doing = "it was asked for its signature"
	p.askedName = true
	p.send(rfc2217.AppendCommand(nil, rfc2217.Command{Code: rfc2217.Signature}))
	p.listen(time.Now().Add(signatureWait), func() bool { return p.signature != nil })
}

func (p *prober) reportRTT() (r RTT) {
	if p.marks > 0 {
		r.TimingMark = milliseconds(p.markRTT)
	}
	var all []time.Duration
	for _, a := range p.answers {
		if a.came && a.rtt > 0 {
			all = append(all, a.rtt)
		}
	}
	if len(all) > 0 {
		slices.Sort(all)
		r.AnswerMin, r.AnswerMedian, r.AnswerMax = milliseconds(all[0]), milliseconds(all[len(all)/2]), milliseconds(all[len(all)-1])
	}
	return r
}

// milliseconds rounds to a hundredth: what is below is this machine's own.
func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
	return &ms
}
