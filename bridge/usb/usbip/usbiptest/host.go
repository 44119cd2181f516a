// Package usbiptest is the host side of the usbip protocol, for tests. It emulates a host controller such as Linux's
// vhci_hcd, with a queue of commands and completions that are called in order. The test acts as the driver.
package usbiptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"telnetcpc/bridge/usb/usbip"
)

// HeaderSize is the length in bytes of every command and answer, without data.
const HeaderSize = 48

// A transfer's status if it is not 0.
const (
	StatusStall     = -32
	StatusUnlinked  = -104
	StatusUnplugged = -108 // ESHUTDOWN; set by the host itself, not sent: the stream has ended
)

// ErrUnplugged is returned by calls on a host whose stream has ended.
var ErrUnplugged = errors.New("the device is gone")

// URB is one transfer, as a driver submits it.
type URB struct {
	Endpoint uint8 // number
	In       bool
	Setup    usbip.Setup // endpoint 0
	Data     []byte      // OUT: the bytes to send; IN, when it is done: those received
	Room     int         // IN: bytes that the host has room for

	Status int // set when it is done

	// Done, unless nil, is called once when the transfer is done, in the host's own goroutine. It may submit and unlink, and
	// must not block.
	Done func(*URB)

	seq  uint32
	over chan struct{}
}

// Wait returns when the transfer is done.
func (u *URB) Wait() { <-u.over }

// IsDone reports whether the transfer is done.
func (u *URB) IsDone() bool {
	select {
	case <-u.over:
		return true
	default:
		return false
	}
}

// Host is one controller with one device. Its methods may be called from any goroutine. Only those documented to do so
// wait for the device.
type Host struct {
	conn io.ReadWriteCloser
	wg   sync.WaitGroup

	mu      sync.Mutex // guards everything below
	wake    sync.Cond
	seq     uint32
	pending map[uint32]*URB
	unlinks map[uint32]*URB // by the sequence number of the unlink
	out     []byte
	err     error // why it has ended
}

// New starts a host on its end of a stream.
func New(conn io.ReadWriteCloser) *Host {
	h := &Host{conn: conn, pending: make(map[uint32]*URB), unlinks: make(map[uint32]*URB)}
	h.wake.L = &h.mu
	h.wg.Go(h.send)
	h.wg.Go(h.receive)
	return h
}

// Close unplugs the device and waits for the host's goroutines. Pending transfers are done with StatusUnplugged.
func (h *Host) Close() {
	h.end(ErrUnplugged)
	h.wg.Wait()
}

// Err returns why the host has ended; nil while it has not.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Submit starts a transfer. It fails on a host that has ended: then the transfer is done at once with StatusUnplugged, and Done is
// not called, so that a driver may submit with its lock held.
func (h *Host) Submit(u *URB) error {
	u.over = make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		u.Status = StatusUnplugged
		close(u.over)
		return h.err
	}
	h.seq++
	u.seq = h.seq
	h.pending[u.seq] = u
	h.out = append(h.out, u.command()...)
	h.wake.Signal()
	return nil
}

// Unlink cancels a transfer. It is done later, either answered or with StatusUnlinked.
func (h *Host) Unlink(u *URB) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return
	}
	h.seq++
	h.unlinks[h.seq] = u
	c := Header(2, h.seq, 0, 0)
	binary.BigEndian.PutUint32(c[20:], u.seq)
	h.out = append(h.out, c...)
	h.wake.Signal()
}

// Control performs a request on endpoint 0 and waits until it is done. data is what an OUT request sends. It returns the data
// received, and the status.
func (h *Host) Control(s usbip.Setup, data []byte) ([]byte, int) {
	u := &URB{Setup: s, In: s.In(), Data: data, Room: int(s.Length)}
	if h.Submit(u) == nil {
		u.Wait()
	}
	return u.Data, u.Status
}

// Header returns a header with only its basic part set.
func Header(code, seq, direction, endpoint uint32) []byte {
	b := make([]byte, HeaderSize)
	for i, v := range []uint32{code, seq, 0x10002, direction, endpoint} {
		binary.BigEndian.PutUint32(b[4*i:], v)
	}
	return b
}

// command returns the CMD_SUBMIT of a transfer.
func (u *URB) command() []byte {
	direction, length, data := uint32(0), len(u.Data), u.Data
	if u.In {
		direction, length, data = 1, u.Room, nil
	}
	c := Header(1, u.seq, direction, uint32(u.Endpoint))
	binary.BigEndian.PutUint32(c[24:], uint32(length))
	c[40], c[41] = u.Setup.Type, u.Setup.Request
	binary.LittleEndian.PutUint16(c[42:], u.Setup.Value)
	binary.LittleEndian.PutUint16(c[44:], u.Setup.Index)
	binary.LittleEndian.PutUint16(c[46:], u.Setup.Length)
	return append(c, data...)
}

func (u *URB) finish(status int) {
	u.Status = status
	if u.Done != nil {
		u.Done(u)
	}
	close(u.over)
}

// end ends the host, once.
func (h *Host) end(err error) {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return
	}
	h.err = err
	pending := h.pending
	h.pending = nil
	h.wake.Broadcast()
	h.mu.Unlock()
	_ = h.conn.Close()
	for _, u := range pending {
		u.finish(StatusUnplugged)
	}
}

// send writes queued commands. New starts its goroutine, the end of the host ends it.
func (h *Host) send() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.err == nil {
		if len(h.out) == 0 {
			h.wake.Wait()
			continue
		}
		p := h.out
		h.out = nil
		h.mu.Unlock()
		_, err := h.conn.Write(p)
		if err != nil {
			h.end(fmt.Errorf("%w: %v", ErrUnplugged, err))
		}
		h.mu.Lock()
	}
}

// receive reads answers. New starts its goroutine, the end of the stream ends it.
func (h *Host) receive() {
	for {
		if err := h.answer(); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
				err = ErrUnplugged
			}
			h.end(err)
			return
		}
	}
}

func (h *Host) answer() error {
	var header [HeaderSize]byte
	if _, err := io.ReadFull(h.conn, header[:]); err != nil {
		return err
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(header[i:]) }
	seq, status, actual := word(4), int(int32(word(20))), int(word(24))
	switch word(0) {
	case 3:
		return h.submitted(seq, status, actual)
	case 4:
		return h.unlinked(seq, status)
	}
	return fmt.Errorf("answer %#x, want RET_SUBMIT or RET_UNLINK", word(0))
}

func (h *Host) submitted(seq uint32, status, actual int) error {
	h.mu.Lock()
	u := h.pending[seq]
	delete(h.pending, seq)
	h.mu.Unlock()
	if u == nil {
		return fmt.Errorf("answer to transfer %d, which is not pending", seq)
	}
	err := h.readData(u, status, actual)
	if err != nil { // it is not in pending any more, so end does not finish it
		status = StatusUnplugged
	}
	u.finish(status)
	return err
}

// readData reads the data of the answer to a transfer.
func (h *Host) readData(u *URB, status, actual int) error {
	switch {
	case u.In && actual > u.Room:
		return fmt.Errorf("answer of %d bytes to a transfer with room for %d", actual, u.Room)
	case u.In:
		data := make([]byte, actual)
		if _, err := io.ReadFull(h.conn, data); err != nil {
			return err
		}
		u.Data = data
	case status == 0 && actual != len(u.Data):
		return fmt.Errorf("%d of %d bytes accepted", actual, len(u.Data))
	}
	return nil
}

func (h *Host) unlinked(seq uint32, status int) error {
	h.mu.Lock()
	u, pending := h.unlinks[seq], false
	delete(h.unlinks, seq)
	if u != nil {
		pending = h.pending[u.seq] == u
		delete(h.pending, u.seq)
	}
	h.mu.Unlock()
	switch {
	case u == nil:
		return fmt.Errorf("answer to unlink %d, which was not sent", seq)
	case pending != (status == StatusUnlinked):
		return fmt.Errorf("unlink: status %d, but the transfer was answered before: %v", status, !pending)
	case pending:
		u.finish(StatusUnlinked)
	}
	return nil
}
