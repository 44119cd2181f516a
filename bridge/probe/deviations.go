package probe

import (
	"fmt"
	"strings"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// deviations are what a probe that changes nothing can see of an access server that is not as RFC 2217 says, or not as
// a user would expect. Masks are not probed: setting one is a change.
func (p *prober) deviations() []Deviation {
	list := []Deviation{}
	for _, look := range []func(*prober) []Deviation{
		(*prober).ended, (*prober).negotiated, (*prober).unanswered, (*prober).oddAnswers, (*prober).states, (*prober).bytesOf, (*prober).reported,
	} {
		list = append(list, look(p)...)
	}
	return list
}

// ended is how the conversation ended before it was over.
func (p *prober) ended() []Deviation {
	switch {
	case p.timeUp():
		return []Deviation{{"time-up", "the probe's time was up when " + p.endedAt,
			"what is missing here is not known to be missing there (--timeout D waits longer)"}}
	case p.occupied():
		return []Deviation{{"in-use", "it said " + quoted(p.text) + p.andClosed(),
			"another client has the port: attach tries again until that client is gone"}}
	case p.noDevice():
		return []Deviation{{"no-device", "it said " + quoted(p.text) + p.andClosed(),
			"it cannot open its device: attach tries again until it can"}}
	case p.closedByPeer() && p.askedName && len(p.signature) == 0:
		return []Deviation{{"signature-ends-session", "it closed the connection when it was asked for its signature",
			"attach never asks for it; if the server has died of the question, start it again"}}
	case p.closedByPeer():
		return []Deviation{{"closed-early", "it closed the connection when " + p.endedAt,
			"another client may have the port, or the server does not like the question, which attach never asks"}}
	}
	return nil
}

// andClosed is when the listener closed the connection, in words that follow what it said.
func (p *prober) andClosed() string {
	if !p.closedByPeer() {
		return ""
	}
	return " and closed when " + p.endedAt
}

// negotiated is about options and marks.
func (p *prober) negotiated() (list []Deviation) {
	if !p.opening.Negotiates() {
		means := "drain and close rest on computed line time alone, as no timing mark is sent to it; if it sends a 255 of data once (esp-link), give attach --quirk single-ff"
		if !p.thorough {
			means += "; it was asked for nothing, as some servers of this kind take a question for a setting (--thorough asks)"
		}
		return []Deviation{{"only-com-port", "it speaks of no option but COM-PORT-OPTION", means}}
	}
	if p.marks == 0 && p.err == nil {
		list = append(list, Deviation{"no-timing-mark", fmt.Sprintf("DO TIMING-MARK was not answered within %v", markWait),
			"how many bytes a lost connection costs, and when a drain is over, is known less well"})
	}
	for _, o := range []telnet.Option{telnet.Binary, telnet.SGA} {
		var how []string
		if !p.options.Peer(o) {
			how = append(how, "DO "+p.taken(o, telnet.WONT))
		}
		if !p.options.Us(o) {
			how = append(how, "WILL "+p.taken(o, telnet.DONT))
		}
		if len(how) > 0 {
			list = append(list, Deviation{strings.ToLower(o.String()) + "-not-agreed", o.String() + ": " + strings.Join(how, ", "),
				"nothing: with COM-PORT-OPTION data is transparent all the same"})
		}
	}
	return list
}

// unanswered is about questions without an answer.
func (p *prober) unanswered() (list []Deviation) {
	var lines, others []string
	asked, came := 0, 0
	for i, a := range p.answers {
		switch {
		case a.came:
			came++
		case a.asked && (i == askedDTR || i == askedRTS):
			lines = append(lines, questions[i].name)
		case a.asked:
			others = append(others, questions[i].name)
		}
		if a.asked {
			asked++
		}
	}
	if asked == 0 || p.err != nil {
		return nil // not asked, or there was no time for an answer
	}
	if came == 0 {
		return []Deviation{{"no-answers", "it agrees to COM-PORT-OPTION and has answered none of the questions",
			"settings may work all the same, but nothing says so: attach reports them once as not confirmed; look at the far end whether they took effect"}}
	}
	if len(lines) > 0 {
		list = append(list, Deviation{"lines-not-answered", "questions for " + strings.Join(lines, " and ") + " were not answered",
			"where they stand is not known until they are set; setting them may work all the same"})
	}
	if len(others) > 0 {
		list = append(list, Deviation{"questions-not-answered", "no answer to: " + strings.Join(others, ", "),
			"what is in force there is not known; setting it may work all the same"})
	}
	return list
}

// oddAnswers is about answers that say something else than they should.
func (p *prober) oddAnswers() (list []Deviation) {
	var returned, flow, odd []string
	for i, a := range p.answers {
		switch {
		case !a.came:
		case i == askedBaud && a.cmd.Baud == 0:
			list = append(list, Deviation{"baud-0", "the question for the baud rate was answered with 0",
				"it may have taken the question for a setting and stand at a baud rate of 0 until a session sets another, which attach does as it begins"})
		case a.returned(i):
			returned = append(returned, questions[i].name)
		case (i == askedDTR || i == askedRTS) && a.cmd.Value <= byte(rfc2217.FlowOutRTSCTS):
			flow = append(flow, fmt.Sprintf("%s with %d", questions[i].name, a.cmd.Value))
		case a.setting(i).Answer == "":
			odd = append(odd, fmt.Sprintf("%s with %s", questions[i].name, hexOf(a.value)))
		}
	}
	if p.baudBytes != 0 {
		list = append(list, Deviation{"baud-length", fmt.Sprintf("a baud rate came in %d bytes: %s", p.baudBytes, hexOf(p.answers[askedBaud].value)),
			"the first four count (sredird on 64 bits sends eight); other clients may misread it"})
	}
	if len(returned) > 0 {
		list = append(list, Deviation{"question-returned", "answered with the question itself: " + strings.Join(returned, ", "),
			"it does not know their state (a port without such lines), or it takes a question for a setting"})
	}
	if len(flow) > 0 {
		list = append(list, Deviation{"flow-for-lines", "answered with a flow control's value: " + strings.Join(flow, ", "),
			"it confirms DTR and RTS with its flow control (sredird does): attach reports them as not confirmed though they may have taken effect"})
	}
	if len(odd) > 0 {
		list = append(list, Deviation{"odd-answers", "answered with what no UART knows: " + strings.Join(odd, ", "),
			"what is in force there is not known"})
	}
	if a := p.answers[askedBreak]; a.came && a.cmd.Value == byte(rfc2217.BreakOn) {
		list = append(list, Deviation{"break-on", "the question for the break state was answered with 5, on",
			"ser2net always says so, and its line is not in break; on another server the line may really be held in break"})
	}
	return list
}

// states is about modem state, suspension and the signature.
func (p *prober) states() (list []Deviation) {
	if !p.modemTold && p.err == nil {
		list = append(list, Deviation{"no-modem-state", "it has not told CTS, DSR, RI and DCD",
			"they are unknown until one of them changes: a program that waits for CTS or DSR may wait"})
	}
	if p.suspends > 0 {
		now := "and has resumed it since"
		if p.suspended {
			now = "and has not resumed it"
		}
		list = append(list, Deviation{"suspend", fmt.Sprintf("it has asked for a pause of data %d times, %s", p.suspends, now),
			"data to the device waits until it resumes; where it never does, give attach --quirk suspend-ignore"})
	}
	if !p.asksSignature() && p.opening.Negotiates() && p.err == nil {
		list = append(list, Deviation{"signature-not-asked", "it tells no modem state by itself, and such servers have died of the question for the signature",
			"who made it is not known (--thorough asks, last of all)"})
	}
	return list
}

// reported is what is reported of the maker that the signature names.
func (p *prober) reported() (list []Deviation) {
	for _, r := range makers.BySignature(p.signature) {
		list = append(list, Deviation{r.Name, "its signature is " + quoted(p.signature), r.Means})
	}
	return list
}

// bytesOf is about bytes that are not as they should be.
func (p *prober) bytesOf() (list []Deviation) {
	if p.data > 0 && !p.occupied() && !p.noDevice() {
		when := "while it was probed"
		if p.before {
			when = "before COM-PORT-OPTION was agreed"
		}
		list = append(list, Deviation{"data", fmt.Sprintf("%d bytes of data came %s: %s", p.data, when, quoted(p.text)),
			"a banner of the server, or the device talks: an application reads it as the first bytes of its device"})
	}
	if len(p.single) > 0 {
		list = append(list, Deviation{"single-ff", fmt.Sprintf("a 255 was followed by %#02x, which is no command: it does not double the 255 in data", byte(p.single[0])),
			"bytes are lost, as a 255 begins a command: give attach --quirk single-ff"})
	}
	if len(p.several) > 0 {
		list = append(list, Deviation{"several-commands", "several commands in one subnegotiation: " + hexOf(p.several),
			"nothing: telnetcpc takes them one by one (Lantronix does so); other clients may see the first only"})
	}
	if len(p.short) > 0 {
		list = append(list, Deviation{"short-command", "a command without its value: " + hexOf(p.short), "nothing: it is passed over"})
	}
	if p.tooLong {
		list = append(list, Deviation{"long-subnegotiation", fmt.Sprintf("a subnegotiation of more than %d bytes", telnet.SubLimit),
			"nothing: it is passed over, for no command of RFC 2217 is as long"})
	}
	if len(p.codes) > 0 {
		var words []string
		who := ""
		for _, c := range p.codes {
			words = append(words, fmt.Sprintf("%#02x", byte(c)))
			if maker := makers.ByCode(byte(c)); maker != "" {
				who = " (" + maker + "'s devices have such)"
			}
		}
		list = append(list, Deviation{"private-codes", "codes that RFC 2217 does not know: " + strings.Join(words, ", ") + who,
			"nothing: they are passed over"})
	}
	return list
}
