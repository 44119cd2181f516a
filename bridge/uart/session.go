package uart

import "time"

// Session is one connection to an access server, from negotiation to Close: the mirror image of a Port.
//
// Next has one caller. Write and Apply are called by one goroutine at a time. Mark, Unacked, Alive, CloseWrite,
// Fidelity and Close never block and may be called from any goroutine at any time.
type Session interface {
	// Next waits for bytes from the device (Kind is KindData), or one Event: modem, line, suspended, resumed, marked,
	// refused, changed, greeting. The bytes belong to the session and are valid until the following call. What an
	// access server of rfc2217:// sends before it has answered a setting or a mark is its greeting, and is dropped.
	// io.EOF: the peer has sent FIN.
	Next() (p []byte, e Event, err error)

	// Write sends bytes to the device, in order with Apply. It blocks while the peer's window is closed. n counts the
	// bytes of p that were passed to TCP completely, also if the session is lost during the call. It may return n <
	// len(p) without an error: bytes inside the call cannot be recalled, so it passes on one piece and leaves the rest
	// to the caller. It does not keep p.
	Write(p []byte) (n int, err error)

	// Apply sends what the event sets (settings, purge) with one write to TCP and waits for no answer. It omits what
	// Fidelity lacks.
	Apply(e Event) error

	// Mark requests a mark after everything written, including a Write in progress; Next returns the answer as
	// KindMarked. It reports whether a mark is in flight. false: this peer does not answer marks, or has not answered
	// the session's first mark within a second (and has not since), or CloseWrite was called.
	Mark() bool

	// Unacked returns how many bytes TCP has accepted from us and the peer's TCP has not acknowledged; -1: unknown on
	// this system.
	Unacked() int

	// Alive returns what TCP knows about the peer.
	Alive() Peer

	// CloseWrite sends FIN after everything that TCP has accepted. Next returns what the peer still sends, and io.EOF
	// after its FIN. Write and Apply fail from then on; a Write in progress is cut short and returns n. Idempotent.
	CloseWrite() error

	// Fidelity returns what this session carries.
	Fidelity() Fidelity

	// Close ends the connection: FIN after everything that TCP has accepted; every blocked call returns at once. If
	// received bytes are unread, TCP sends a reset instead, which discards what is still in flight: call CloseWrite,
	// and Next to the end, before it. Idempotent.
	Close() error
}

// Peer is what TCP knows about the other end. The zero value means that nothing is known or nothing has happened.
type Peer struct {
	Ended   bool          // the peer has sent FIN or RST, even if Next has not reached it
	Unread  int           // bytes that have arrived and Next has not read; 0 if unknown
	Acked   uint64        // total of our bytes that it has acknowledged; 0 if unknown
	Waiting time.Duration // how long sent data or window probes have gone without any acknowledgement; 0: none are in flight
}
