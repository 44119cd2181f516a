package uart

import "time"

// Session is one connection to an access server, from negotiation to Close: the mirror image of a Port.
//
// Next has one caller, Write has one caller. Apply may be called by one goroutine at a time, beside Write only from
// Write's own. Mark, Unacked, Alive, CloseWrite and Close never block and may be called by anyone at any time.
type Session interface {
	// Next waits for bytes from the device (Kind is KindData), or one Event: modem, line, suspended, resumed, marked,
	// refused, changed, greeting. The bytes belong to the session and are valid until the following call. What an access
	// server of rfc2217:// says before it has answered a setting or a mark is its greeting, and is dropped. io.EOF: the peer
	// closed in order.
	Next() (p []byte, e Event, err error)

	// Write sends bytes to the device, in order with Apply. It blocks while the peer's window is closed. n counts
	// the bytes of p that were given to TCP whole, also when the session dies inside the call. It may return fewer
	// than all of p without an error: what is inside the call cannot be called back, so it takes a piece, and the
	// caller decides anew about the rest. It does not keep p.
	Write(p []byte) (n int, err error)

	// Apply sends what the event says (settings, purge) in one segment and waits for no answer. What this remote
	// cannot carry is left out: Fidelity has named it.
	Apply(e Event) error

	// Mark asks for a mark behind everything written so far, and what is being written; its answer comes from Next as
	// KindMarked. It reports whether one is under way now; false: this peer answers none, or has not yet answered the one
	// that each session asks for at its beginning, a second after that; or our half is closed.
	Mark() bool

	// Unacked is how many bytes TCP has been given and the peer's TCP has not acknowledged; -1: unknown here.
	Unacked() int

	// Alive is what TCP knows of the peer.
	Alive() Peer

	// CloseWrite sends FIN behind what was given to TCP, and lets the peer go on: Next returns what it still sends, and
	// io.EOF behind its FIN. Write and Apply fail from then on; one that is under way is cut short, n says where. It never
	// blocks; anyone may call it, twice too.
	CloseWrite() error

	// Fidelity is what this session carries.
	Fidelity() Fidelity

	// Close ends the connection: FIN behind what was given to TCP. Every blocked call returns at once. Where bytes are
	// unread it is a reset, which throws away what is still under way: CloseWrite, and Next to the end, come before it.
	// Idempotent.
	Close() error
}

// Peer is what TCP knows of the other end. The zero value says that nothing is known, or that nothing has happened.
type Peer struct {
	Ended   bool          // the peer has sent its FIN or RST, whether or not it has been read
	Unread  int           // bytes that have come and Next has not read; 0 where it is not known
	Acked   uint64        // bytes of ours that it has acknowledged in all; 0 where it is not known
	Waiting time.Duration // how long what was sent, or questions about a closed window, have been without an acknowledgement of anything; 0: none are
}
