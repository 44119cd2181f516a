package telnet

// side is where one option stands on one side, in RFC 1143's words.
type side uint8

const (
	no         side = iota
	yes             // the option is on
	wantNo          // we asked to switch it off
	wantNoOpp       // and on again, when that is answered
	wantYes         // we asked to switch it on
	wantYesOpp      // and off again, when that is answered
)

// Options negotiates as RFC 1143 (the Q method) says: a request for the state that already is gets no answer, so no
// peer can make a loop. TIMING-MARK is no state and must be kept out of it. The zero value refuses everything. It does
// no I/O: what is to be sent is appended to the caller's buffer. One caller at a time.
type Options struct {
	// AllowUs and AllowPeer say which options either side may have on, when the peer asks.
	AllowUs, AllowPeer func(Option) bool

	us, peer [256]side
}

// Us reports whether the option is on at our side: we said WILL, and the peer DO.
func (o *Options) Us(opt Option) bool { return o.us[opt] == yes }

// Peer reports whether the option is on at the peer's side.
func (o *Options) Peer(opt Option) bool { return o.peer[opt] == yes }

// Asked reports whether an answer about the option is waited for, at our side or the peer's.
func (o *Options) Asked(opt Option) bool { return o.us[opt] >= wantNo || o.peer[opt] >= wantNo }

// Receive takes a verb of the peer and appends what is to be said to it: at most one verb.
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

// AskUs asks for an option of ours to be on or off, and appends what is to be said: nothing, where it is so or is
// being asked for.
func (o *Options) AskUs(dst []byte, opt Option, enable bool) []byte {
	return ask(dst, &o.us[opt], opt, enable, WILL, WONT)
}

// AskPeer does the same for an option of the peer's.
func (o *Options) AskPeer(dst []byte, opt Option, enable bool) []byte {
	return ask(dst, &o.peer[opt], opt, enable, DO, DONT)
}

func allowed(f func(Option) bool, opt Option) bool { return f != nil && f(opt) }

// on takes the peer's WILL (or DO); agree and refuse are the verbs to answer with.
func on(dst []byte, s *side, opt Option, allow bool, agree, refuse Command) []byte {
	switch *s {
	case no:
		if !allow {
			return AppendVerb(dst, refuse, opt)
		}
		*s = yes
		return AppendVerb(dst, agree, opt)
	case wantNo: // our request to switch it off was answered with on: an error of the peer; RFC 1143 says no
		*s = no
	case wantNoOpp, wantYes:
		*s = yes
	case wantYesOpp:
		*s = wantNo
		return AppendVerb(dst, refuse, opt)
	}
	return dst
}

// off takes the peer's WONT (or DONT).
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
