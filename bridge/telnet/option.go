package telnet

// side is the state of one option on one side (RFC 1143, section 7, "The Q Method").
type side uint8

const (
	no         side = iota
	yes             // the option is on
	wantNo          // we have requested it off
	wantNoOpp       // the same, and will request it on after the answer
	wantYes         // we have requested it on
	wantYesOpp      // the same, and will request it off after the answer
)

// Options is the state of all options on both sides, negotiated by the Q method (RFC 1143): a request for the present
// state gets no answer, so negotiation never loops. TIMING-MARK has no state and must not be passed to it. The zero value
// refuses everything. Methods append what must be sent to the caller's buffer. One caller at a time.
type Options struct {
	// AllowUs and AllowPeer report whether an option may be on, on our and on the peer's side, if the peer requests it. Nil
	// allows none.
	AllowUs, AllowPeer func(Option) bool

	us, peer [256]side
}

// Us reports whether the option is on for our side: we have sent WILL and the peer DO.
func (o *Options) Us(opt Option) bool { return o.us[opt] == yes }

// Peer reports whether the option is on for the peer's side: it has sent WILL and we DO.
func (o *Options) Peer(opt Option) bool { return o.peer[opt] == yes }

// Asked reports whether a request of ours about the option is unanswered, for either side.
func (o *Options) Asked(opt Option) bool { return o.us[opt] >= wantNo || o.peer[opt] >= wantNo }

// Receive handles a verb from the peer and appends the answer: at most one verb.
func (o *Options) Receive(dst []byte, verb Command, opt Option) []byte {
	switch verb {
	case WILL:
		return on(dst, &o.peer[opt], opt, allowed(o.AllowPeer, opt), DO, DONT)
	case WONT:
		return off(dst, &o.peer[opt], opt, DO, DONT)
	case DO:
		return on(dst, &o.us[opt], opt, allowed(o.AllowUs, opt), WILL, WONT)
	case DONT:
		return off(dst, &o.us[opt], opt, WILL, WONT)
	}
	return dst
}

// AskUs requests that an option on our side be on or off, and appends the verb to send: none if it already is, or if that
// has been requested already.
func (o *Options) AskUs(dst []byte, opt Option, enable bool) []byte {
	return ask(dst, &o.us[opt], opt, enable, WILL, WONT)
}

// AskPeer does the same for the peer's side.
func (o *Options) AskPeer(dst []byte, opt Option, enable bool) []byte {
	return ask(dst, &o.peer[opt], opt, enable, DO, DONT)
}

func allowed(f func(Option) bool, opt Option) bool { return f != nil && f(opt) }

// on handles the peer's WILL (or DO); agree and refuse are the verbs of the answer.
func on(dst []byte, s *side, opt Option, allow bool, agree, refuse Command) []byte {
	switch *s {
	case no:
		if !allow {
			return AppendVerb(dst, refuse, opt)
		}
		*s = yes
		return AppendVerb(dst, agree, opt)
	case wantNo: // the peer has answered "off" with "on": an error (RFC 1143)
		*s = no
	case wantNoOpp, wantYes:
		*s = yes
	case wantYesOpp:
		*s = wantNo
		return AppendVerb(dst, refuse, opt)
	}
	return dst
}

// off handles the peer's WONT (or DONT).
func off(dst []byte, s *side, opt Option, agree, refuse Command) []byte {
	switch *s {
	case yes:
		*s = no
		return AppendVerb(dst, refuse, opt)
	case wantNoOpp:
		*s = wantYes
		return AppendVerb(dst, agree, opt)
	case wantNo, wantYes, wantYesOpp:
		*s = no
	}
	return dst
}

func ask(dst []byte, s *side, opt Option, enable bool, agree, refuse Command) []byte {
	if enable {
		switch *s {
		case no:
			*s = wantYes
			return AppendVerb(dst, agree, opt)
		case wantNo:
			*s = wantNoOpp
		case wantYesOpp:
			*s = wantYes
		}
		return dst
	}
	switch *s {
	case yes:
		*s = wantNo
		return AppendVerb(dst, refuse, opt)
	case wantNoOpp:
		*s = wantNo
	case wantYes:
		*s = wantYesOpp
	}
	return dst
}
