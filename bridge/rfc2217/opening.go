package rfc2217

import (
	"bytes"
	"time"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/telnet"
)

const (
	// openingPatience is how long a peer may be silent during the opening before the silence counts as its answer.
	openingPatience = 3 * time.Second
	// askAgain is how long a Telnet server may leave our WILL unanswered before DO is tried, once.
	askAgain = time.Second
	// markPatience is how long to wait for the answer to the opening's mark. Every recorded server answers it.
	markPatience = time.Second
	// openingText is how many bytes of a peer's text an Opening keeps to classify the peer.
	openingText = 256
	// openingTextMost is how many bytes a peer may send without any Telnet command before it counts as a raw port.
	openingTextMost = 64 << 10
)

// Conclusion is what an Opening has found out about the peer.
type Conclusion uint8

const (
	Undecided  Conclusion = iota
	Agreed                // COM-PORT-OPTION is on
	Refused               // it speaks Telnet, and refuses COM-PORT-OPTION or does not answer
	EchoesBack            // it returns whatever it gets: a loop plug on a raw port, or an echo service
	Silent                // it has sent nothing at all
	NotTelnet             // it sends bytes, and no Telnet among them
	PortInUse             // it is an access server, and another client has its port
	NoDevice              // it is an access server, and cannot open its device
	Closed                // it has closed the connection, and none of the above applies
)

var conclusionNames = [...]string{
	"undecided", "agreed", "refused", "echoes", "silent", "not Telnet", "port in use", "no device", "closed",
}

func (c Conclusion) String() string { return conclusionNames[c] }

// Opening negotiates COM-PORT-OPTION with an unknown peer: it may be an access server, another Telnet server, a raw port,
// or a loopback plug, which returns every byte. It is a pure state machine without I/O and without a clock: the caller
// passes it what arrives and sends what it returns. Client and probe both use it, so they come to the same conclusion
// about the same peer.
//
//	o := NewOpening(&options)
//	send(o.Start(now))
//	for o.Conclusion() == Undecided {
//		read until o.Until(), and for
//		    data:              o.Data(p, now)
//		    a verb:            send(o.Verb(nil, m, now))
//		    another command:   o.Command(m, now)
//		    nothing in time:   send(o.Timeout(nil, now))
//		    the peer's close:  o.End()
//	}
//
// It sends nothing but verbs, and before the peer has sent a Telnet command only WILL COM-PORT-OPTION: on a raw port the
// bytes would reach the instrument.
//
// Verb may also be called after the conclusion, and does not change it. One caller at a time.
type Opening struct {
	options    *telnet.Options
	conclusion Conclusion

	telnet     bool // a Telnet command came
	negotiates bool // a verb came about an option other than COM-PORT-OPTION and TIMING-MARK
	refused    bool // DONT COM-PORT-OPTION came
	asked      bool // DO COM-PORT-OPTION was sent
	echo       echo
	text       []byte // the first openingText bytes of its data
	length     int    // of all its data, in bytes

	began     time.Time
	quiet     time.Time // since when the peer has been silent
	asking    time.Time // when COM-PORT-OPTION was last requested
	mark      time.Time // when the mark was sent; zero: not sent
	answered  bool      // the mark was answered
	roundTrip time.Duration
}

// NewOpening returns an Opening that negotiates with these options. It sets their AllowUs and AllowPeer to what a session
// needs.
func NewOpening(options *telnet.Options) *Opening {
	options.AllowUs, options.AllowPeer = wanted, wanted
	return &Opening{options: options}
}

// wanted reports whether an option may be on, on either side. ECHO is never among them.
func wanted(o telnet.Option) bool {
	return o == telnet.Binary || o == telnet.SGA || o == telnet.ComPort
}

// appendWanted asks for BINARY and SGA on both sides.
func appendWanted(dst []byte, options *telnet.Options) []byte {
	for _, opt := range [...]telnet.Option{telnet.Binary, telnet.SGA} {
		dst = options.AskUs(dst, opt, true)
		dst = options.AskPeer(dst, opt, true)
	}
	return dst
}

// Conclusion returns what is known about the peer so far.
func (o *Opening) Conclusion() Conclusion { return o.conclusion }

// Telnet reports whether the peer has sent a Telnet command.
func (o *Opening) Telnet() bool { return o.telnet }

// Negotiates reports whether the peer has sent a verb about an option other than COM-PORT-OPTION and TIMING-MARK. Such a
// peer is a full Telnet implementation: it may be asked for other options and for marks.
func (o *Opening) Negotiates() bool { return o.negotiates }

// Text returns the beginning of the peer's data, 256 bytes at most. The Opening owns it.
func (o *Opening) Text() []byte { return o.text }

// Mark returns when the opening's own mark was sent (zero: not sent), and whether it was answered.
func (o *Opening) Mark() (sent time.Time, answered bool) { return o.mark, o.answered }

// RoundTrip returns the longest time between a request and its answer. The longest counts because a verb that comes early
// may be an offer that was already on its way, not the answer.
func (o *Opening) RoundTrip() time.Duration { return o.roundTrip }

// Start returns what to send first.
func (o *Opening) Start(now time.Time) []byte {
	o.began, o.quiet, o.asking = now, now, now
	return o.sent(nil, o.options.AskUs(nil, telnet.ComPort, true))
}

// Until returns when Timeout must be called if nothing arrives before.
func (o *Opening) Until() time.Time {
	switch {
	case !o.mark.IsZero() && o.echo.suspected():
		return o.quiet.Add(markPatience)
	case o.telnet && !o.asked:
		return o.began.Add(askAgain)
	}
	return o.quiet.Add(openingPatience)
}

// Data handles data that has arrived; it does not keep p. Some servers greet with a text; a peer that keeps sending
// without any Telnet command is a raw port.
func (o *Opening) Data(p []byte, now time.Time) {
	o.quiet = now
	o.echo.differs() // we have sent no data
	o.text = append(o.text, p[:min(len(p), openingText-len(o.text))]...)
	o.length += len(p)
	if !o.telnet && (o.length > openingTextMost || now.Sub(o.began) > openingPatience) {
		o.concludeFromText(false)
	}
	o.conclude(nil, now)
}

// Command handles a command that is not a verb. A 255 before a byte that is not a command (RFC 854) may be data of a raw
// port, to which nothing must be sent: it counts as text until the peer has sent a Telnet command.
func (o *Opening) Command(m telnet.Message, now time.Time) {
	if m.Command < telnet.SE && !o.telnet {
		o.Data([]byte{byte(telnet.IAC), byte(m.Command)}, now)
		return
	}
	o.telnet, o.quiet = true, now
	o.echo.differs()
	o.conclude(nil, now)
}

// Verb handles WILL, WONT, DO or DONT and appends what to send.
func (o *Opening) Verb(dst []byte, m telnet.Message, now time.Time) []byte {
	o.telnet, o.quiet = true, now
	o.echo.received(telnet.AppendVerb(nil, m.Command, m.Option))
	if m.Option == telnet.TimingMark {
		return o.conclude(o.timingMark(dst, m.Command, now), now)
	}
	if m.Option == telnet.ComPort {
		switch m.Command {
		case telnet.DONT:
			o.refused = true
		case telnet.DO, telnet.WILL:
			o.roundTrip = max(o.roundTrip, now.Sub(o.asking))
		}
	}
	verbs := o.options.Receive(nil, m.Command, m.Option)
	if m.Option != telnet.ComPort && !o.negotiates {
		o.negotiates = true
		verbs = appendWanted(verbs, o.options)
	}
	return o.conclude(o.sent(dst, verbs), now)
}

// timingMark handles a verb about marks: the answer to our mark, or a request, which is answered (RFC 860) unless it is
// our own, returned by a plug.
func (o *Opening) timingMark(dst []byte, verb telnet.Command, now time.Time) []byte {
	switch {
	case verb == telnet.DO && !o.echo.suspected():
		return o.sent(dst, telnet.AppendVerb(nil, telnet.WILL, telnet.TimingMark))
	case (verb == telnet.WILL || verb == telnet.WONT) && !o.mark.IsZero() && !o.answered:
		o.answered = true
		o.roundTrip = max(o.roundTrip, now.Sub(o.mark))
	}
	return dst
}

// Timeout takes the next step when nothing has arrived before Until, and appends what to send.
func (o *Opening) Timeout(dst []byte, now time.Time) []byte {
	switch {
	case o.conclusion != Undecided:
	case !o.mark.IsZero() && o.echo.whole():
		o.conclusion = EchoesBack
	case !o.mark.IsZero() && o.echo.suspected(): // a plug would have returned the mark too
		o.echo.differs()
	case o.telnet && !o.asked:
		o.asked, o.asking = true, now
		dst = o.sent(dst, o.options.AskPeer(nil, telnet.ComPort, true))
	case o.echo.suspected():
		o.quiet = now
		dst = o.askMark(dst, now)
	case o.telnet:
		o.conclusion = Refused
	case o.length > 0:
		o.concludeFromText(false)
	default:
		o.conclusion = Silent
	}
	return o.conclude(dst, now)
}

// End handles the peer's close, or a failure of the connection.
func (o *Opening) End() {
	if o.conclusion == Undecided {
		o.conclusion = Closed
		o.concludeFromText(true)
	}
}

// concludeFromText draws a conclusion from the text that the peer has sent instead of an agreement.
func (o *Opening) concludeFromText(closed bool) {
	if c := refusal(o.text, closed); c != Undecided {
		o.conclusion = c
	} else if !o.telnet && o.length > 0 {
		o.conclusion = NotTelnet
	}
}

// conclude draws the conclusion that the verbs allow, and appends the mark that distinguishes a plug from a server.
//
// A peer that has sent exactly what we sent, WILL and then DO, may be a loopback plug. A mark decides: a server answers
// it with WILL or WONT, a plug returns DO.
func (o *Opening) conclude(dst []byte, now time.Time) []byte {
	on := o.options.Us(telnet.ComPort) || o.options.Peer(telnet.ComPort)
	switch {
	case o.conclusion != Undecided:
	case on && !o.echo.suspected():
		o.conclusion = Agreed
	case o.refused && !o.options.Peer(telnet.ComPort):
		o.conclusion = Refused
	case o.echo.whole() && o.mark.IsZero():
		return o.askMark(dst, now)
	}
	return dst
}

func (o *Opening) askMark(dst []byte, now time.Time) []byte {
	o.mark = now
	return o.sent(dst, telnet.AppendVerb(nil, telnet.DO, telnet.TimingMark))
}

// sent appends verbs, which are sent next.
func (o *Opening) sent(dst, verbs []byte) []byte {
	o.echo.sent(verbs)
	return append(dst, verbs...)
}

// InUse is what an access server sends to a second client before it closes the connection: ser2net after a whole
// negotiation, our own server with or without one. Other clients recognise these words too.
const InUse = "Port already in use"

// MeansInUse reports whether text, from a peer that has not served this session yet, means that another client has its
// port. InUse always does. After the peer has closed, "in use" or "busy", in upper or lower case, do too; while the
// connection is open they may be a device's text.
func MeansInUse(text []byte, closed bool) bool { return refusal(text, closed) == PortInUse }

// MeansNoDevice reports whether text, from a peer that has closed, means that the access server cannot open its device.
func MeansNoDevice(text []byte) bool { return refusal(text, true) == NoDevice }

// refusal returns what the text of a peer that has not served means: PortInUse, NoDevice, or Undecided. NoDevice is
// checked first, because the reason why a device cannot be opened may be that it is busy.
func refusal(text []byte, closed bool) Conclusion {
	if bytes.Contains(text, []byte(InUse)) {
		return PortInUse
	}
	if makers.DeviceMissing(text) {
		return NoDevice
	}
	if closed && makers.InUse(text) {
		return PortInUse
	}
	return Undecided
}

// echo compares what comes from the peer with what was sent to it.
type echo struct {
	pending   []byte // what was sent and has not come back
	returned  bool   // something has come back
	different bool   // and something else too
}

// sent records everything that is sent.
func (e *echo) sent(p []byte) {
	if !e.different {
		e.pending = append(e.pending, p...)
	}
}

// received compares everything that arrives.
func (e *echo) received(p []byte) {
	if !bytes.HasPrefix(e.pending, p) {
		e.differs()
	}
	if !e.different {
		e.returned, e.pending = true, e.pending[len(p):]
	}
}

func (e *echo) differs() { e.pending, e.different = nil, true }

// suspected reports whether everything that came is what was sent.
func (e *echo) suspected() bool { return e.returned && !e.different }

// whole reports whether everything that was sent has come back.
func (e *echo) whole() bool { return e.suspected() && len(e.pending) == 0 }
