package usbip

// Transfer is one transfer that the host has submitted: a USB request block, URB. Its fields are not to be changed.
type Transfer struct {
	Endpoint uint8 // number, without the direction
	In       bool  // device to host
	Setup    Setup // endpoint 0
	Length   int   // bytes: how many the host takes (IN) or has sent (OUT)
	Data     []byte

	stream *Stream
	seq    uint32
	room   int // what its answer counts for in held
}

// Answer completes the transfer: IN with data, of which at most Length bytes count; OUT as taken, all of it. It only
// queues the answer, and keeps nothing of data; Flush writes it. false: the host has taken the transfer back, or the
// stream is over, and nothing of data reaches the host.
func (t *Transfer) Answer(data []byte) bool {
	data = data[:min(len(data), t.Length)]
	if !t.In {
		return t.complete(0, t.Length, nil)
	}
	return t.complete(0, len(data), data)
}

// Stall completes the transfer as one that the device does not know, or not now. false as for Answer.
func (t *Transfer) Stall() bool { return t.complete(statusPipe, 0, nil) }

// Stream is the stream that the transfer came by.
func (t *Transfer) Stream() *Stream { return t.stream }

func (t *Transfer) complete(status, actual int, data []byte) bool {
	s := t.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.pending[t.seq] != t {
		return false
	}
	s.forget(t)
	s.answered[s.next] = t
	s.next = (s.next + 1) % rememberedAnswers
	s.out = append(appendRetSubmit(s.out, t.seq, status, actual), data...)
	return true
}
