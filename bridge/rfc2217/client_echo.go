package rfc2217

// echo compares what the peer says with what was said to it. It keeps that as long as the two are the same.
type echo struct {
	ours, theirs []byte
	different    bool
}

func (e *echo) sent(p []byte) {
	if !e.different {
		e.ours = append(e.ours, p...)
	}
}

func (e *echo) differs() { e.ours, e.theirs, e.different = nil, nil, true }

func (e *echo) got(p []byte) {
	if e.different {
		return
	}
	if n := len(e.theirs); n+len(p) > len(e.ours) || string(e.ours[n:n+len(p)]) != string(p) {
		e.differs()
		return
	}
	e.theirs = append(e.theirs, p...)
}

// suspected reports whether everything that came is what we had sent.
func (e *echo) suspected() bool { return !e.different && len(e.theirs) > 0 }

// whole reports whether everything that we have sent came back.
func (e *echo) whole() bool { return e.suspected() && len(e.theirs) == len(e.ours) }
