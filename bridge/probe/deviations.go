package probe

import (
	"fmt"
	"strings"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// deviations returns how an access server deviates from RFC 2217, or from what a user would expect: what a probe that
// changes nothing can detect. Masks are not probed: setting one is a change.
func (p *prober) deviations() []Deviation {
	list := []Deviation{}
	for _, find := range []func(*prober) []Deviation{
		(*prober).earlyEnd, (*prober).negotiation, (*prober).unanswered, (*prober).oddAnswers, (*prober).states, (*prober).oddBytes, (*prober).reported,
	} {
		list = append(list, find(p)...)
	}
	return list
}

// earlyEnd reports why a probe did not complete.
func (p *prober) earlyEnd() []Deviation {
	switch {
	case p.timeUp():
		return []Deviation{{"time-up", "the probe ran out of time when " + p.endedAt,
			"what this report lacks may exist on the server (--timeout D waits longer)"}}
	case p.occupied():
		return []Deviation{{"in-use", "it sent " + quoted(p.text) + p.andClosed(),
			"another client is using the port: attach tries again until that client is gone"}}
	case p.noDevice():
		return []Deviation{{"no-device", "it sent " + quoted(p.text) + p.andClosed(),
			"it cannot open its device: attach tries again until it can"}}
	case p.closedByPeer() && p.signatureAsked && len(p.signature) == 0:
		return []Deviation{{"signature-ends-session", "it closed the connection when it was asked for its signature",
			"attach never asks for it; if the server has crashed, restart it"}}
	case p.closedByPeer():
		return []Deviation{{"closed-early", "it closed the connection when " + p.endedAt,
			"another client may be using the port, or the server cannot handle the query, which attach never sends"}}
	}
	return nil
}

// andClosed returns when the listener closed the connection, as a clause that follows what it sent.
func (p *prober) andClosed() string {
	if !p.closedByPeer() {
		return ""
	}
	return " and closed the connection when " + p.endedAt
}

// negotiation reports deviations of options and timing marks.
func (p *prober) negotiation() (list []Deviation) {
	if !p.opening.Negotiates() {
		means := "drain and close rely on computed line time alone, because it is sent no timing mark; if it does not double 255 in data (esp-link), give attach --quirk single-ff"
		if !p.thorough {
			means += "; it was not queried, because some servers of this kind mistake a query for a setting (--thorough queries them)"
		}
		return []Deviation{{"only-com-port", "it negotiates no option but COM-PORT-OPTION", means}}
	}
	if p.marks == 0 && p.err == nil {
		list = append(list, Deviation{"no-timing-mark", fmt.Sprintf("DO TIMING-MARK was not answered within %v", markWait),
			"how many bytes a lost connection costs, and when a drain is complete, can only be estimated"})
	}
	for _, o := range []telnet.Option{telnet.Binary, telnet.SGA} {
		var how []string
		if !p.options.Peer(o) {
			how = append(how, "DO "+p.refusal(o, telnet.WONT))
		}
		if !p.options.Us(o) {
			how = append(how, "WILL "+p.refusal(o, telnet.DONT))
		}
		if len(how) > 0 {
			list = append(list, Deviation{strings.ToLower(o.String()) + "-not-agreed", o.String() + ": " + strings.Join(how, ", "),
				"nothing: with COM-PORT-OPTION, data is transparent anyway"})
		}
	}
	return list
}

// unanswered reports queries without an answer.
func (p *prober) unanswered() (list []Deviation) {
	var lines, others []string
	sent, answered := 0, 0
	for i, e := range p.exchanges {
		switch {
		case e.answered:
			answered++
		case e.sent && (i == queryDTR || i == queryRTS):
			lines = append(lines, queries[i].name)
		case e.sent:
			others = append(others, queries[i].name)
		}
		if e.sent {
			sent++
		}
	}
	if sent == 0 || p.err != nil {
		return nil // not queried, or no time for an answer
	}
	if answered == 0 {
		return []Deviation{{"no-answers", "it agreed to COM-PORT-OPTION and answered none of the queries",
			"settings may still take effect, but it does not confirm them: attach reports them once as not confirmed; check at the far end whether they took effect"}}
	}
	if len(lines) > 0 {
		list = append(list, Deviation{"lines-not-answered", "queries for " + strings.Join(lines, " and ") + " were not answered",
			"their state is unknown until they are set; setting them may still work"})
	}
	if len(others) > 0 {
		list = append(list, Deviation{"questions-not-answered", "no answer to: " + strings.Join(others, ", "),
			"the current values are unknown; setting them may still work"})
	}
	return list
}

// oddAnswers reports answers that RFC 2217 does not define.
func (p *prober) oddAnswers() (list []Deviation) {
	var returned, flow, odd []string
	for i, e := range p.exchanges {
		switch {
		case !e.answered:
		case i == queryBaud && e.cmd.Baud == 0:
			list = append(list, Deviation{"baud-0", "the query for the baud rate was answered with 0",
				"it may have mistaken the query for a setting and stay at 0 baud until a session sets a rate, which attach does when it connects"})
		case e.returnsQuery(i):
			returned = append(returned, queries[i].name)
		case (i == queryDTR || i == queryRTS) && e.cmd.Value <= byte(rfc2217.FlowOutRTSCTS):
			flow = append(flow, fmt.Sprintf("%s with %d", queries[i].name, e.cmd.Value))
		case e.setting(i).Answer == "":
			odd = append(odd, fmt.Sprintf("%s with %s", queries[i].name, hexOf(e.value)))
		}
	}
	if p.baudBytes != 0 {
		list = append(list, Deviation{"baud-length", fmt.Sprintf("the baud rate came in %d bytes: %s", p.baudBytes, hexOf(p.exchanges[queryBaud].value)),
			"telnetcpc reads the first four (sredird on 64 bits sends eight); other clients may misread it"})
	}
	if len(returned) > 0 {
		list = append(list, Deviation{"question-returned", "answered with the query itself: " + strings.Join(returned, ", "),
			"it does not know their state (a port without such lines), or it mistakes a query for a setting"})
	}
	if len(flow) > 0 {
		list = append(list, Deviation{"flow-for-lines", "answered with a flow control value: " + strings.Join(flow, ", "),
			"it confirms DTR and RTS with its flow control setting (sredird does): attach reports them as not confirmed though they may have taken effect"})
	}
	if len(odd) > 0 {
		list = append(list, Deviation{"odd-answers", "answered with values that RFC 2217 does not define: " + strings.Join(odd, ", "),
			"the current values are unknown"})
	}
	if e := p.exchanges[queryBreak]; e.answered && e.cmd.Value == byte(rfc2217.BreakOn) {
		list = append(list, Deviation{"break-on", "the query for the break state was answered with 5 (on)",
			"ser2net always answers so, and its line is not in break; with another server the line may really be in break"})
	}
	return list
}

// states reports deviations of modem state, suspension and signature.
func (p *prober) states() (list []Deviation) {
	if !p.modemKnown && p.err == nil {
		list = append(list, Deviation{"no-modem-state", "it has not reported CTS, DSR, RI and DCD",
			"they are unknown until one of them changes: a program that waits for CTS or DSR may wait for ever"})
	}
	if p.suspends > 0 {
		now := "and has resumed it since"
		if p.suspended {
			now = "and has not resumed it"
		}
		list = append(list, Deviation{"suspend", fmt.Sprintf("it suspended data %d times, %s", p.suspends, now),
			"data to the device waits until it resumes; if it never does, give attach --quirk suspend-ignore"})
	}
	if !p.asksSignature() && p.opening.Negotiates() && p.err == nil {
		list = append(list, Deviation{"signature-not-asked", "it does not report the modem state unasked, and servers like that have crashed when asked for their signature",
			"its maker is unknown (--thorough asks, last of all)"})
	}
	return list
}

// reported returns what is reported of the maker that the signature names.
func (p *prober) reported() (list []Deviation) {
	for _, r := range makers.BySignature(p.signature) {
		list = append(list, Deviation{r.Name, "its signature is " + quoted(p.signature), r.Means})
	}
	return list
}

// oddBytes reports data that comes unasked, and encodings that RFC 854 or RFC 2217 does not define.
func (p *prober) oddBytes() (list []Deviation) {
	if p.data > 0 && !p.occupied() && !p.noDevice() {
		when := "while it was probed"
		if p.before {
			when = "before COM-PORT-OPTION was agreed"
		}
		list = append(list, Deviation{"data", fmt.Sprintf("%d bytes of data arrived %s: %s", p.data, when, quoted(p.text)),
			"a banner of the server, or the device sends by itself: an application reads it as the first bytes from its device"})
	}
	if len(p.single) > 0 {
		list = append(list, Deviation{"single-ff", fmt.Sprintf("255 was followed by %#02x, which is no Telnet command: it does not double 255 in data", byte(p.single[0])),
			"bytes are lost, because 255 begins a command: give attach --quirk single-ff"})
	}
	if len(p.several) > 0 {
		list = append(list, Deviation{"several-commands", "several commands in one subnegotiation: " + hexOf(p.several),
			"nothing: telnetcpc reads each of them (Lantronix sends several); other clients may read only the first"})
	}
	if len(p.short) > 0 {
		list = append(list, Deviation{"short-command", "a command without its value: " + hexOf(p.short), "nothing: it is ignored"})
	}
	if p.tooLong {
		list = append(list, Deviation{"long-subnegotiation", fmt.Sprintf("a subnegotiation of more than %d bytes", telnet.SubLimit),
			"nothing: it is ignored, because no command of RFC 2217 is that long"})
	}
	if len(p.codes) > 0 {
		var words []string
		sender := ""
		for _, c := range p.codes {
			words = append(words, fmt.Sprintf("%#02x", byte(c)))
			if maker := makers.ByCode(byte(c)); maker != "" {
				sender = " (" + maker + "'s devices send such)"
			}
		}
		list = append(list, Deviation{"private-codes", "commands that RFC 2217 does not define: " + strings.Join(words, ", ") + sender,
			"nothing: they are ignored"})
	}
	return list
}
