package accessserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

// The two ways of a byte, each in one goroutine:
//
//	up:    conn.Read -> rfc2217.Server.Next -> Device.Write -> line
//	down:  line -> Device.Next -> rfc2217.Server.Write -> conn.Write
//
// Commands walk the same road as the bytes (up -> Device.Apply, Device.Purge), so they keep their place. A full
// transmit buffer blocks Device.Write, so the connection is not read, so the client's window closes. A client that does
// not read blocks Server.Write, so the device is not read: what a UART does then is the device's business.

const (
	// recodePatience is how long a change of line coding waits for the bytes before it without one of them leaving.
	recodePatience = 3 * time.Second
	// farewell is how long a client that has closed its half may take for the last bytes from the line.
	farewell = 5 * time.Second
	// dropMost bounds what is dropped of a client that goes on sending when its session has ended.
	dropMost = 1 << 20
	// pieceMost bounds what is given to the device at once.
	pieceMost = 4 << 10
	// roomTime is how much of the line's time TCP takes of a client ahead of the device, if that is more than
	// tcp.ReceiveBuffer: a fast line must not wait for a client that is far away. roomMost bounds it.
	roomTime, roomMost = time.Second / 4, 256 << 10
)

// session joins one client and the UART that it owns.
type session struct {
	conn   net.Conn
	client *rfc2217.Server
	device uart.Device
	watch  *gallery
	owner  *owner
	tcp    *tcp.Socket
	log    *slog.Logger // of what clients can do without end
	losses *slog.Logger // of what that cost in bytes

	ended    context.Context         // ends with the server's context, or by fail: at once, whatever waits
	fail     context.CancelCauseFunc // from up and down: the device is lost, or the client broke the protocol
	gone     chan struct{}           // closed by leave: the client is gone, what it sent goes out
	leaving  sync.Once
	allTaken atomic.Bool // up has ended: everything that the client sent is in the device's hands

	coding  uart.Coding  // in force; only up's
	room    int          // what TCP takes of the client ahead of up; only up's
	dropped atomic.Int64 // bytes of the client that up has not given to the device, since another one waits

	seenUp        uint64    // of up, the last time that it has moved
	moved, nudged time.Time // when that was, and when the client was nudged; all three are run's

	asked, reset atomic.Bool // the client was nudged; it has left without FIN

	gaveUp   atomic.Bool
	vanished tcp.Facts // what TCP said when the client was given up; only run's
	unacked  int       // bytes on their way to it then; -1: not known

	up, down atomic.Uint64 // bytes given to the device and to the client; up shows whether the device still takes some
}

func newSession(v *visitor, client *rfc2217.Server, device uart.Device, watch *gallery, o *owner, log, losses *slog.Logger) *session {
	return &session{
		conn: v.conn, client: client, device: device, watch: watch, owner: o, tcp: v.tcp, log: log, losses: losses,
		gone: make(chan struct{}), room: tcp.ReceiveBuffer,
	}
}

// run is the session from the agreement to its end. It closes the device; what is left of the connection is part's.
func (s *session) run(ctx context.Context) {
	s.ended, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	hung := make(chan struct{})
	stop := context.AfterFunc(s.ended, func() {
		defer close(hung)
		s.hangUp()
	})
	defer func() {
		if !stop() {
			<-hung // part must come after it
		}
	}()

	var ways errgroup.Group
	ways.Go(s.carryUp)   // ends with the client's last byte, or when the device or the connection is closed
	ways.Go(s.carryDown) // ends when the device is closed
	s.lastBytes()

	// The device first: down still gives to the client what came back, and ends.
	_ = s.device.Close()
	hurry := time.AfterFunc(farewell, s.close)
	defer hurry.Stop()
	err := ways.Wait()
	s.report(ctx, err)
}

// hangUp ends the session at once, whatever waits. Unless the client is dead, or does not keep to the protocol, it gets
// what down is about to send it, and FIN; part does the rest.
func (s *session) hangUp() {
	_ = s.device.Close()
	cause := context.Cause(s.ended)
	if errors.Is(cause, errWanted) {
		_ = s.conn.SetReadDeadline(time.Now().Add(lastWords)) // up counts until then what the client has left
		time.AfterFunc(lastWords, s.close)                    // nor does down wait any longer for who only listens
		return
	}
	if errors.Is(cause, errReplaced) || errors.Is(cause, rfc2217.ErrProtocol) {
		s.close()
		return
	}
	_ = s.client.CloseWrite()
	_ = s.conn.SetReadDeadline(tcp.Past()) // up waits for the client no more
	time.AfterFunc(lastWords, s.close)     // nor does down
}

// part ends the connection when the session is over, so that the client gets what is still on its way to it. A client that
// does not end its half within lastWords, or sends more than dropMost bytes, is cut off.
func (s *session) part() {
	_ = s.conn.SetReadDeadline(time.Now().Add(lastWords))
	tcp.Goodbye(s.client.CloseWrite, func() (int, error) {
		p, _, err := s.client.Next()
		return len(p), err
	}, dropMost)
	s.close()
}

func (s *session) close() {
	_ = s.client.Close()
	_ = s.device.Close()
}

// leave notes that the client is gone: what it sent goes out all the same, as long as bytes leave.
func (s *session) leave() {
	s.leaving.Do(func() {
		s.log.Debug("client gone, its last bytes go out")
		s.owner.leave(time.Now())
		close(s.gone)
	})
}

// report says how the session ended. err is why the connection did.
func (s *session) report(ctx context.Context, err error) {
	carried := []any{"up", s.up.Load(), "down", s.down.Load()}
	log, losses := s.log.With(carried...), s.losses.With(carried...)
	cause := context.Cause(s.ended)
	switch {
	case errors.Is(cause, errReplaced):
		losses.Warn("client hung up", "err", cause)
	case ctx.Err() != nil:
		log.Info("client hung up: the server ends")
	case errors.Is(cause, rfc2217.ErrProtocol):
		log.Warn("client hung up", "err", cause)
	case errors.Is(cause, errWanted):
		dropped := s.dropped.Load()
		if s.gaveUp.Load() {
			dropped += int64(s.vanished.Unread)
		}
		losses.Warn("bytes of a client that is gone dropped: another one waits", "dropped", dropped)
	case cause != nil:
		log.Error("port lost, client hung up", "err", cause)
	case s.gaveUp.Load():
		losses.Warn("client lost: nothing is heard from it", "for", s.vanished.Waiting.Round(time.Second),
			"unacknowledged", s.unacked, "unread", s.vanished.Unread)
	case err == nil || errors.Is(err, io.EOF):
		log.Info("client left")
	default:
		log.Info("client lost", "err", err)
	}
}

// carryUp is the way to the device. Its error is why the connection ended.
func (s *session) carryUp() error {
	defer s.allTaken.Store(true)
	inForce, err := s.device.Apply(uart.Event{})
	if err != nil {
		s.fail(err)
		return nil
	}
	s.coding = inForce.Coding
	s.makeRoom()
	s.watch.set(inForce)
	for {
		p, e, err := s.client.Next()
		if errors.Is(err, rfc2217.ErrProtocol) {
			s.fail(err)
			return nil
		}
		switch {
		case err != nil && s.ended.Err() != nil:
			return nil // hangUp has ended the wait
		case err != nil:
			if !errors.Is(err, io.EOF) { // after a reset that something else has shown, the end of what lay unread is an EOF too
				s.reset.Store(true)
			}
			s.leave()
			return err
		}
		if err := s.obey(p, e); err != nil {
			s.drop()
			if !errors.Is(err, uart.ErrClosed) { // else run has closed it, and knows
				s.fail(err)
			}
			return nil
		}
	}
}

// obey does what the client wants. An error is the device's, or says that the client does not read its answers.
func (s *session) obey(p []byte, e uart.Event) error {
	switch e.Kind {
	case uart.KindData:
		return s.write(p)
	case uart.KindPurge:
		s.log.Debug(e.String())
		if err := s.device.Purge(e.Purge); err != nil {
			return err
		}
		return s.client.Answer(uart.Event{})
	}
	return s.apply(e)
}

// write gives bytes to the device, about a second's worth at once, so that it shows whether the line moves.
func (s *session) write(p []byte) error {
	piece := min(max(int(s.coding.Baud/10), 16), pieceMost)
	for len(p) > 0 {
		n, err := s.device.Write(p[:min(piece, len(p))])
		s.up.Add(uint64(n))
		if err != nil {
			s.dropped.Add(int64(len(p) - n))
			return err
		}
		p = p[n:]
	}
	return nil
}

// drop counts what the client, who is gone, has left and will not be given to the device, since another one waits.
func (s *session) drop() {
	if !errors.Is(context.Cause(s.ended), errWanted) {
		return
	}
	for err := error(nil); err == nil; { // ends with the client's FIN, or with hangUp's deadline
		var p []byte
		p, _, err = s.client.Next()
		s.dropped.Add(int64(len(p)))
	}
}

// apply changes the settings. Bytes that wait in the transmit buffer were sent for the coding before: a new one waits
// until they are out, as tcsetattr does with TCSADRAIN. Lines and flow control do not wait, for they may be what the
// bytes wait for.
func (s *session) apply(e uart.Event) error {
	if e.Coding.Over(s.coding) != s.coding && !s.empties(recodePatience, always) && s.ended.Err() == nil {
		s.losses.Warn("line coding changes under bytes that cannot leave", "held", s.device.Unsent())
	}
	inForce, err := s.device.Apply(e)
	if err != nil {
		return err
	}
	s.coding = inForce.Coding
	s.makeRoom()
	s.watch.set(inForce)
	s.log.Debug("settings", "asked", described(e), "coding", inForce.Coding.String(), "flow", inForce.Flow.String(),
		"lines", inForce.Control.String())
	return s.client.Answer(inForce)
}

// makeRoom has TCP take as much of the client as the line's rate needs. It never takes room away: what the client was
// promised it may send.
func (s *session) makeRoom() {
	room := min(int(s.coding.Baud/10/uint32(time.Second/roomTime)), roomMost)
	if room <= s.room {
		return
	}
	s.room = room
	s.tcp.GrowReceiveBuffer(room)
}

// described is what a settings event asks for.
func described(e uart.Event) string {
	if e.Coding == (uart.Coding{}) && e.Flow == (uart.Flow{}) && e.Control == (uart.Control{}) {
		return "what is in force"
	}
	return e.String()[len(uart.KindSettings.String())+1:]
}
