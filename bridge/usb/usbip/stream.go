package usbip

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// Device is what a Stream emulates, apart from the standard requests. Serve calls its methods, one at a time, in the order in
// which the host sent the transfers; they must not block. A transfer may be answered at once or later, from any goroutine;
// those of one endpoint in the order in which they came. A transfer's Data is valid only during the call.
type Device interface {
	// Control performs a class or vendor request. An unknown one must be answered with Stall.
	Control(t *Transfer)
	// Out receives the bytes of a bulk OUT transfer. A device applies back pressure by answering later.
	Out(t *Transfer)
	// In receives a bulk IN transfer, which wants up to t.Length bytes. The device answers when it has something.
	In(t *Transfer)
	// Unlinked reports that the host has unlinked a transfer. A pending one can no longer be answered; any other was
	// answered just before.
	Unlinked(t *Transfer, pending bool)
}

// What a host may have in flight; more is a protocol error. A driver has two or three transfers per endpoint.
const (
	maxPending = 256     // unanswered transfers
	maxHeld    = 1 << 20 // bytes: room for their answers, and answers that the host has not read
	// rememberedAnswers is how many of the last answered transfers are kept, to call the device if one of them is
	// unlinked too late.
	rememberedAnswers = 32
	readBuffer        = 8 << 10
	// maxKept is the largest buffer for answers that is kept for reuse, in bytes: larger ones are freed after they are
	// written, because most ports are idle most of the time.
	maxKept = 16 << 10
)

// A transfer's status: the protocol uses Linux's negative error numbers.
const (
	statusPipe      = -32  // EPIPE: stalled
	statusConnReset = -104 // ECONNRESET: unlinked
)

// Stream is one device that is plugged in, on one connection. Flush, FlushSoon, Requests, Close and the methods of its transfers
// may be called from any goroutine.
type Stream struct {
	conn     io.ReadWriteCloser
	device   Device
	standard standard // only Serve's goroutine

	requests atomic.Uint64 // see Requests

	mu   sync.Mutex // guards everything below; never held over I/O or a call of the device
	over bool       // nothing is written any more

	// Transfers.
	pending  map[uint32]*Transfer
	held     int                          // bytes that the answers of pending may need
	answered [rememberedAnswers]*Transfer // the last answered ones, a ring
	next     int                          // index in answered of the next one

	// Answers to the host.
	out      []byte // not written yet
	spare    []byte // the buffer that was written last
	writing  bool   // a goroutine is writing; it goes on until out is empty
	failed   error  // the first write error
	flushers sync.WaitGroup
}

// New returns a stream that emulates a device on a connection. Nothing happens before Serve.
func New(conn io.ReadWriteCloser, table Table, device Device) *Stream {
	return &Stream{
		conn: conn, device: device, pending: make(map[uint32]*Transfer),
		standard: standard{table: table, halted: make(map[uint8]bool)},
	}
}

// Serve reads and performs the host's commands until the stream ends or Close is called (nil), or until an error: the
// connection's, or one that wraps ErrProtocol. It closes the connection. After it has returned nothing is written any more, and
// pending transfers cannot be answered. It is called once.
func (s *Stream) Serve() error {
	err := s.serve()
	s.mu.Lock()
	closed := s.over
	s.over = true
	if s.failed != nil {
		err = s.failed
	}
	clear(s.pending)
	s.mu.Unlock()
	closeErr := s.conn.Close()
	s.flushers.Wait()
	switch {
	case closed || errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return closeErr
	}
	return err
}

// Close unplugs the device: it ends Serve and every write. Idempotent.
func (s *Stream) Close() error {
	s.mu.Lock()
	over := s.over
	s.over = true
	s.mu.Unlock()
	if over {
		return nil
	}
	return s.conn.Close()
}

// serve reads commands. It never waits for the device, and for the host only while it writes answers itself.
func (s *Stream) serve() error {
	r := bufio.NewReaderSize(s.conn, readBuffer)
	var header [headerSize]byte
	var data []byte // of the current OUT transfer
	for {
		c, err := readCommand(r, &header)
		if err != nil {
			return err
		}
		n := c.dataLen()
		if cap(data) < n {
			data = make([]byte, n)
		}
		if _, err := io.ReadFull(r, data[:n]); err != nil {
			return fmt.Errorf("data of transfer %d: %w", c.seq, noEOF(err))
		}
		if c.code == cmdUnlink {
			err = s.unlink(c)
		} else {
			err = s.submit(c, data[:n])
		}
		if err != nil {
			return err
		}
		if c.code == cmdSubmit && !c.in && c.endpoint != 0 {
			// Let the goroutine that these bytes have woken run first: they arrive sooner, and its reply leaves in the same
			// write as the answer to this transfer.
			runtime.Gosched()
		}
		s.Flush()
	}
}

// noEOF turns the io.EOF of a stream that ends within a transfer into an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// submit begins a transfer.
func (s *Stream) submit(c command, data []byte) error {
	t := &Transfer{stream: s, seq: c.seq, Endpoint: c.endpoint, In: c.in, Length: c.length, Setup: c.setup, Data: data}
	if err := s.accept(t); err != nil {
		return err
	}
	defer func() { t.Data = nil }() // the next transfer uses the buffer
	address := c.endpoint
	if c.in {
		address |= 0x80
	}
	switch {
	case c.endpoint == 0:
		s.control(t)
	case !s.standard.table.has(address) || s.standard.halted[address]:
		t.Stall()
	case c.in:
		s.device.In(t)
	default:
		s.device.Out(t)
	}
	return nil
}

// Requests returns how many transfers of endpoint 0 the host has begun, which shows its progress with the device.
func (s *Stream) Requests() uint64 { return s.requests.Load() }

// control performs a transfer of endpoint 0.
func (s *Stream) control(t *Transfer) {
	s.requests.Add(1)
	if t.Setup.In() != t.In {
		t.Stall()
		return
	}
	t.Length = min(t.Length, int(t.Setup.Length))
	if t.Setup.Type&typeMask != typeStandard {
		s.device.Control(t)
		return
	}
	if data, ok := s.standard.perform(t.Setup); ok {
		t.Answer(data)
	} else {
		t.Stall()
	}
}

// accept adds a transfer to the pending ones and checks the limits.
func (s *Stream) accept(t *Transfer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.pending[t.seq] != nil:
		return fmt.Errorf("%w: sequence number %d is already pending", ErrProtocol, t.seq)
	case len(s.pending) >= maxPending:
		return fmt.Errorf("%w: more than %d pending transfers", ErrProtocol, maxPending)
	}
	t.room = headerSize
	if t.In {
		t.room += t.Length
	}
	s.pending[t.seq] = t
	s.held += t.room
	return s.checkLimit()
}

// checkLimit checks maxHeld. The caller holds mu.
func (s *Stream) checkLimit() error {
	if s.held+len(s.out) > maxHeld {
		return fmt.Errorf("%w: more than %d bytes in flight", ErrProtocol, maxHeld)
	}
	return nil
}

// unlink performs CMD_UNLINK. The device is called after the answer was queued, so that its own answers follow it.
func (s *Stream) unlink(c command) error {
	s.mu.Lock()
	t := s.pending[c.victim]
	pending := t != nil
	status := 0
	if pending {
		s.forget(t)
		status = statusConnReset
	} else {
		t = s.recent(c.victim)
	}
	s.out = appendRetUnlink(s.out, c.seq, status)
	err := s.checkLimit()
	s.mu.Unlock()
	if t != nil && t.Endpoint != 0 || pending {
		s.device.Unlinked(t, pending)
	}
	return err
}

// recent returns the transfer with this number among those answered last, or nil. The caller holds mu.
func (s *Stream) recent(seq uint32) *Transfer {
	for _, t := range s.answered {
		if t != nil && t.seq == seq {
			return t
		}
	}
	return nil
}

// forget removes a transfer from the pending ones. The caller holds mu.
func (s *Stream) forget(t *Transfer) {
	delete(s.pending, t.seq)
	s.held -= t.room
}

// Flush writes the queued answers. It blocks while the connection does, unless another goroutine is writing, which then
// writes these too. Serve flushes after each call of the device's methods.
func (s *Stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing {
		return
	}
	s.writing = true
	s.write()
}

// FlushSoon is Flush for callers that must not block: unless another goroutine is writing, it starts one, for which Serve waits
// before it returns.
func (s *Stream) FlushSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing || s.over || len(s.out) == 0 {
		return
	}
	s.writing = true
	s.flushers.Go(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.write()
	})
}

// write writes until no answer is queued, and clears writing. The caller holds mu, which write releases during I/O.
func (s *Stream) write() {
	for len(s.out) > 0 && !s.over && s.failed == nil {
		p := s.out
		s.out = s.spare[:0]
		s.mu.Unlock()
		_, err := s.conn.Write(p)
		s.mu.Lock()
		if s.spare = p; cap(p) > maxKept {
			s.spare = nil
		}
		if err != nil && !s.over {
			s.failed = err
			_ = s.conn.Close() // ends Serve's read
		}
	}
	s.writing = false
}
