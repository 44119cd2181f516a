package usbip

// Transfer is one transfer submitted by the host: a USB request block, URB. Its fields must not be changed.
type Transfer struct {
	Endpoint uint8  // number, without the direction
	In       bool   // device to host
	Setup    Setup  // endpoint 0
	Length   int    // bytes that the host accepts (IN) or has sent (OUT)
	Data     []byte // OUT: the bytes; valid only during the call of Device

	stream *Stream
	seq    uint32
	room   int // its share of Stream.held, in bytes
}

// Answer completes the transfer: IN with data, of which at most Length bytes are sent; OUT as accepted whole. It copies
// data and only queues the answer; Flush writes it. false: the host has unlinked the transfer or the stream has ended,
// and no byte of data reaches the host.
func (t *Transfer) Answer(data []byte) bool {
	data = data[:min(len(data), t.Length)]
	if !t.In {
		return t.complete(0, t.Length, nil)
	}
	return t.complete(0, len(data), data)
}

// Stall completes the transfer as one that the device does not support, or not now. It returns false as Answer does.
func (t *Transfer) Stall() bool { return t.complete(statusPipe, 0, nil) }

// Stream returns the stream of the transfer.
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
