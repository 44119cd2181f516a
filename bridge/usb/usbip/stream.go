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

// Device is what a Stream plays, behind the standard requests. Its methods are called by Serve, one at a time, in the
// order in which the host sent the transfers; they must not block. A transfer may be answered at once or later, by any
// goroutine; those of one endpoint in the order in which they came. A transfer's Data is valid during the call alone.
type Device interface {
	// Control is a class or vendor request. An unknown one is to be answered by Stall.
	Control(t *Transfer)
	// Out takes the bytes of a bulk OUT transfer. To answer it later is how a device holds the host back.
	Out(t *Transfer)
	// In wants up to t.Length bytes on a bulk IN endpoint. It waits until the device has something.
	In(t *Transfer)
	// Unlinked says that the host takes a transfer back. Where it was pending it cannot be answered any more; else it
	// had been answered just before.
	Unlinked(t *Transfer, pending bool)
}

// What a host may have under way: beyond that it has broken the protocol. A driver has two or three transfers an
// endpoint.
const (
	maxPending = 256     // transfers that are not answered
	maxHeld    = 1 << 20 // bytes: room for their answers, and answers that the host has not read
	// rememberedAnswers is how many of the last answered transfers are told to the device when they are unlinked too
	// late. A host cannot have more of them in flight than it had pending.
	rememberedAnswers = 32
	readBuffer        = 8 << 10
	// keepMost is how large a buffer for answers may be to be used again: larger ones go when they are written, as most
	// ports are idle most of the time.
	keepMost = 16 << 10
)

// Errors that a transfer's status says, as Linux numbers them: the protocol has its numbers.
const (
	statusPipe      = -32  // EPIPE: stalled
	statusConnReset = -104 // ECONNRESET: unlinked
)

// Stream is one device plugged in, on one connection. Flush, FlushSoon, Requests, Close and the methods of its transfers
// may be called by any goroutine.
type Stream struct {
	conn     io.ReadWriteCloser
	device   Device
	standard standard // Serve's alone

	requests atomic.Uint64 // see Requests

	mu       sync.Mutex // over everything below; never held over I/O or a call of the device
	pending  map[uint32]*Transfer
	held     int // bytes that the pending transfers may need
	answered [rememberedAnswers]*Transfer
	next     int    // where in answered the next one goes
	out      []byte // answers that wait to be written
	spare    []byte // the buffer that was written last
	writing  bool   // one goroutine writes; it goes on until out is empty
	over     bool   // nothing is written any more
	failed   error  // of the first write that failed
	flushers sync.WaitGroup
}

// New returns a stream that plays a device on a connection. Nothing happens before Serve.
func New(conn io.ReadWriteCloser, table Table, device Device) *Stream {
	return &Stream{
		conn: conn, device: device, pending: make(map[uint32]*Transfer),
		standard: standard{table: table, halted: make(map[uint8]bool)},
	}
}

// Serve reads and performs what the host sends until the stream ends or Close is called (nil), or an error: of the
// connection, or one that wraps ErrProtocol. It closes the connection; when it returns nothing is written any more, and
// transfers that were pending cannot be answered. It is called once.
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

// Close unplugs the device: it ends Serve, and every write. Idempotent.
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

// serve reads commands. It never waits for the device, nor, but for its own answers, for the host to read.
func (s *Stream) serve() error {
	r := bufio.NewReaderSize(s.conn, readBuffer)
	var header [headerSize]byte
	var data []byte // of the OUT transfer at hand
	for {
		c, err := readCommand(r, &header)
		if err != nil {
			return err
		}
		n := c.carries()
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
			// Whoever was woken by these bytes comes first: they are sooner where they should be, and what is answered
			// to them goes out by the same write as the answer to this transfer.
			runtime.Gosched()
		}
		s.Flush()
	}
}

// noEOF makes an end inside of something an error.
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
	defer func() { t.Data = nil }() // the buffer is the next transfer's
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

// Requests is how many transfers of endpoint 0 the host has begun: how far it has come with the device.
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
	if data, ok := s.standard.answer(t.Setup); ok {
		t.Answer(data)
	} else {
		t.Stall()
	}
}

// accept puts a transfer among the pending ones, within the limits.
func (s *Stream) accept(t *Transfer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.pending[t.seq] != nil:
		return fmt.Errorf("%w: sequence number %d is under way already", ErrProtocol, t.seq)
	case len(s.pending) >= maxPending:
		return fmt.Errorf("%w: more than %d transfers under way", ErrProtocol, maxPending)
	}
	t.room = headerSize
	if t.In {
		t.room += t.Length
	}
	s.pending[t.seq] = t
	s.held += t.room
	return s.within()
}

// within checks what is held against its limit; the lock is held.
func (s *Stream) within() error {
	if s.held+len(s.out) > maxHeld {
		return fmt.Errorf("%w: it has more than %d bytes under way", ErrProtocol, maxHeld)
	}
	return nil
}

// unlink takes a transfer back. The device hears of it after the answer has its place, so that whatever it sends for
// it comes later.
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
	err := s.within()
	s.mu.Unlock()
	if t != nil && t.Endpoint != 0 || pending {
		s.device.Unlinked(t, pending)
	}
	return err
}

// recent is the transfer of this number among those that were answered last, or nil; the lock is held.
func (s *Stream) recent(seq uint32) *Transfer {
	for _, t := range s.answered {
		if t != nil && t.seq == seq {
			return t
		}
	}
	return nil
}

// forget takes a transfer out of the pending ones; the lock is held.
func (s *Stream) forget(t *Transfer) {
	delete(s.pending, t.seq)
	s.held -= t.room
}

// Flush writes the answers that wait. It blocks while the connection does, unless another goroutine is writing, which
// then writes these too. Serve flushes by itself what was answered inside of the device's methods.
func (s *Stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing {
		return
	}
	s.writing = true
	s.write()
}

// FlushSoon is Flush for those who must not block: where nobody is writing, a goroutine does it, which Serve waits for.
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

// write writes until nothing waits, and is then no longer the writer; the lock is held, but not over the writing.
func (s *Stream) write() {
	for len(s.out) > 0 && !s.over && s.failed == nil {
		p := s.out
		s.out = s.spare[:0]
		s.mu.Unlock()
		_, err := s.conn.Write(p)
		s.mu.Lock()
		if s.spare = p; cap(p) > keepMost {
			s.spare = nil
		}
		if err != nil && !s.over {
			s.failed = err
			_ = s.conn.Close() // ends Serve's read
		}
	}
	s.writing = false
}
