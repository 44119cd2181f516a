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

// A session moves bytes in two directions, each in one goroutine:
//
//	up:    conn.Read -> rfc2217.Server.Next -> Device.Write -> line
//	down:  line -> Device.Next -> rfc2217.Server.Write -> conn.Write
//
// Commands take the same path as the bytes (up -> Device.Apply, Device.Purge), so the order is kept. A full transmit
// buffer blocks Device.Write, so the connection is not read, so the client's TCP window closes. A client that does not
// read blocks Server.Write, so the device is not read; what a UART does then is up to the device.

const (
	// recodePatience is how long a change of the line coding waits for earlier bytes while none of them leaves.
	recodePatience = 3 * time.Second
	// farewell is how long a client that has closed its half may take to read the last bytes that the line has received.
	farewell = 5 * time.Second
	// dropLimit bounds, in bytes, what is read and dropped from a client that keeps sending after the end of its session.
	dropLimit = 1 << 20
	// pieceLimit is the most, in bytes, that one Write gives to the device.
	pieceLimit = 4 << 10
	// roomTime is how much line time of a client's bytes TCP may buffer before the device takes them, if that is more than
	// tcp.ReceiveBuffer: a fast line must not wait for a client on a slow path. roomLimit bounds it, in bytes.
	roomTime, roomLimit = time.Second / 4, 256 << 10
)

// session joins one client and the UART that it owns.
type session struct {
	// Constant.
	conn     net.Conn
	client   *rfc2217.Server
	device   uart.Device
	watchers *watchers
	owner    *owner
	tcp      *tcp.Socket
	log      *slog.Logger // limited: clients can connect and disconnect without end
	losses   *slog.Logger // for lines about lost bytes, with a limit of its own

	// How the session ends.
	ended   context.Context         // done: the session ends at once, whatever is still unsent
	fail    context.CancelCauseFunc // ends it, with the reason: the device is lost, or the client broke the protocol
	gone    chan struct{}           // closed by leave: the client is gone; what it sent still goes to the line
	leaving sync.Once               // the work of leave

	// Only carryUp's.
	coding uart.Coding // the current one
	room   int         // the size of TCP's receive buffer, in bytes

	// Only run's.
	lastUp   uint64    // the value of up when it last changed
	moved    time.Time // when it last changed
	nudged   time.Time // when the client was last nudged
	vanished tcp.Facts // what TCP reported when the client was given up
	unacked  int       // bytes sent to it and not acknowledged at that time; -1: unknown

	// Written by one goroutine, read by others.
	up, down  atomic.Uint64 // bytes given to the device and to the client
	allTaken  atomic.Bool   // carryUp has returned: the device has everything that the client sent
	dropped   atomic.Int64  // bytes of the client that were dropped because another client waits
	wasNudged atomic.Bool   // the client was nudged
	reset     atomic.Bool   // the client left without FIN
	gaveUp    atomic.Bool   // the client was given up: it vanished
}

func newSession(v *visitor, client *rfc2217.Server, device uart.Device, w *watchers, o *owner, log, losses *slog.Logger) *session {
	return &session{
		conn: v.conn, client: client, device: device, watchers: w, owner: o, tcp: v.tcp, log: log, losses: losses,
		gone: make(chan struct{}), room: tcp.ReceiveBuffer,
	}
}

// run is the session from the end of the negotiation to its own end. It closes the device, but not the connection: part does
// that.
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

	var carriers errgroup.Group
	carriers.Go(s.carryUp)   // ends with the client's last byte, or when the device or the connection is closed
	carriers.Go(s.carryDown) // ends when the device is closed
	s.lastBytes()

	// The device first: carryDown still gives the client what was received, and returns.
	_ = s.device.Close()
	hurry := time.AfterFunc(farewell, s.close)
	defer hurry.Stop()
	err := carriers.Wait()
	s.report(ctx, err)
}

// hangUp ends the session at once, whatever is still unsent. Unless the client is dead or broke the protocol, it gets
// what carryDown is sending at the moment, and FIN; part does the rest.
func (s *session) hangUp() {
	_ = s.device.Close()
	cause := context.Cause(s.ended)
	if errors.Is(cause, errWanted) {
		_ = s.conn.SetReadDeadline(time.Now().Add(lastWords)) // until then drop counts the client's remaining bytes
		time.AfterFunc(lastWords, s.close)                    // carryDown does not wait any longer for a client that does not close
		return
	}
	if errors.Is(cause, errReplaced) || errors.Is(cause, rfc2217.ErrProtocol) {
		s.close()
		return
	}
	_ = s.client.CloseWrite()
	_ = s.conn.SetReadDeadline(tcp.Past()) // carryUp does not wait for the client any longer
	time.AfterFunc(lastWords, s.close)     // nor does carryDown
}

// part ends the connection after the session, so that the client gets what is still on its way to it. A client that does not
// end its half within lastWords, or sends more than dropLimit bytes, is cut off.
func (s *session) part() {
	_ = s.conn.SetReadDeadline(time.Now().Add(lastWords))
	tcp.Goodbye(s.client.CloseWrite, func() (int, error) {
		p, _, err := s.client.Next()
		return len(p), err
	}, dropLimit)
	s.close()
}

func (s *session) close() {
	_ = s.client.Close()
	_ = s.device.Close()
}

// leave records that the client is gone. What it sent still goes to the line, as long as bytes leave.
func (s *session) leave() {
	s.leaving.Do(func() {
		s.log.Debug("client gone; its last bytes are being sent")
		s.owner.leave(time.Now())
		close(s.gone)
	})
}

// report logs how the session ended. err is why the connection ended.
func (s *session) report(ctx context.Context, err error) {
	carried := []any{"up", s.up.Load(), "down", s.down.Load()}
	log, losses := s.log.With(carried...), s.losses.With(carried...)
	cause := context.Cause(s.ended)
	switch {
	case errors.Is(cause, errReplaced):
		losses.Warn("client disconnected", "err", cause)
	case ctx.Err() != nil:
		log.Info("client disconnected: the server is shutting down")
	case errors.Is(cause, rfc2217.ErrProtocol):
		log.Warn("client disconnected", "err", cause)
	case errors.Is(cause, errWanted):
		dropped := s.dropped.Load()
		if s.gaveUp.Load() {
			dropped += int64(s.vanished.Unread)
		}
		losses.Warn("dropped the last bytes of a client that is gone: another client waits", "dropped", dropped)
	case cause != nil:
		log.Error("port lost; client disconnected", "err", cause)
	case s.gaveUp.Load():
		losses.Warn("client lost: unresponsive", "for", s.vanished.Waiting.Round(time.Second),
			"unacknowledged", s.unacked, "unread", s.vanished.Unread)
	case err == nil || errors.Is(err, io.EOF):
		log.Info("client left")
	default:
		log.Info("client lost", "err", err)
	}
}

// carryUp carries bytes and commands to the device. Its error is why the connection ended. run starts it.
func (s *session) carryUp() error {
	defer s.allTaken.Store(true)
	inForce, err := s.device.Apply(uart.Event{})
	if err != nil {
		s.fail(err)
		return nil
	}
	s.coding = inForce.Coding
	s.makeRoom()
	s.watchers.set(inForce)
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
			if !errors.Is(err, io.EOF) { // a reset that awaitEnd has seen ends in EOF here
				s.reset.Store(true)
			}
			s.leave()
			return err
		}
		if err := s.forward(p, e); err != nil {
			s.drop()
			if !errors.Is(err, uart.ErrClosed) { // ErrClosed: the session is ending already
				s.fail(err)
			}
			return nil
		}
	}
}

// forward gives bytes to the device, or executes a command and answers it. The error is the device's, or that the client
// does not read its answers.
func (s *session) forward(p []byte, e uart.Event) error {
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

// write gives bytes to the device, at most a second's worth at once, so that s.up shows whether the line moves.
func (s *session) write(p []byte) error {
	piece := min(max(int(s.coding.Baud/10), 16), pieceLimit)
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

// drop reads, drops and counts the remaining bytes of a client that is gone, because another client waits.
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

// apply changes the settings. A new line coding waits until the transmit buffer is empty, as tcsetattr does with TCSADRAIN: those
// bytes were meant for the old one. DTR, RTS, break and flow control do not wait, because the bytes may be waiting for them.
func (s *session) apply(e uart.Event) error {
	if e.Coding.Over(s.coding) != s.coding && !s.empties(recodePatience, always) && s.ended.Err() == nil {
		s.losses.Warn("line coding changed before all bytes were sent: they cannot leave the port", "held", s.device.Unsent())
	}
	inForce, err := s.device.Apply(e)
	if err != nil {
		return err
	}
	s.coding = inForce.Coding
	s.makeRoom()
	s.watchers.set(inForce)
	s.log.Debug("settings", "asked", described(e), "coding", inForce.Coding.String(), "flow", inForce.Flow.String(),
		"lines", inForce.Control.String())
	return s.client.Answer(inForce)
}

// makeRoom grows TCP's receive buffer to what the line's rate needs. It never shrinks it, because a TCP window that was promised
// must not be taken back.
func (s *session) makeRoom() {
	room := min(int(s.coding.Baud/10/uint32(time.Second/roomTime)), roomLimit)
	if room <= s.room {
		return
	}
	s.room = room
	s.tcp.GrowReceiveBuffer(room)
}

// described returns what a settings event requests, for the log.
func described(e uart.Event) string {
	if e.Coding == (uart.Coding{}) && e.Flow == (uart.Flow{}) && e.Control == (uart.Control{}) {
		return "current settings"
	}
	return e.String()[len(uart.KindSettings.String())+1:]
}
