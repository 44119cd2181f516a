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
	// lastPatience is how long the bytes of a client that has gone wait without one of them leaving.
	lastPatience = 30 * time.Second
	// farewell is how long a client that has closed its half may take for the last bytes from the line.
	farewell = 5 * time.Second
	// dropMost bounds what is dropped of a client that goes on sending when its session has ended.
	dropMost = 1 << 20
	// lookAtClient is how often to look whether the client is still there, which a blocked device hides from who reads.
	lookAtClient = time.Second
	// lookAgain bounds how long a wait for the transmitter goes without looking: a purge ends it early.
	lookAgain = 100 * time.Millisecond
	// pieceMost bounds what is given to the device at once.
	pieceMost = 4 << 10
)

// session joins one client and the UART that it owns.
type session struct {
	conn   net.Conn
	client *rfc2217.Server
	device Device
	watch  *gallery
	log    *slog.Logger

	ended    context.Context         // ends with the server's context, or by fail: at once, whatever waits
	fail     context.CancelCauseFunc // from up and down: the device is lost, or the client broke the protocol
	gone     chan struct{}           // closed by leave: the client is gone, what it sent goes out
	leaving  sync.Once
	allTaken atomic.Bool // up has ended: everything that the client sent is in the device's hands

	coding uart.Coding // in force; only up's

	up, down atomic.Uint64 // bytes given to the device and to the client; up shows whether the device still takes some
}

func newSession(conn net.Conn, client *rfc2217.Server, device Device, watch *gallery, log *slog.Logger) *session {
	return &session{conn: conn, client: client, device: device, watch: watch, log: log, gone: make(chan struct{})}
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
	if errors.Is(cause, errReplaced) || errors.Is(cause, rfc2217.ErrProtocol) {
		s.close()
		return
	}
	_ = s.client.CloseWrite()
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // up waits for the client no more
	time.AfterFunc(lastWords, s.close)          // nor does down
}

// part ends the connection when the session is over: it sends FIN, then reads what the client still sends until its own,
// and dropped, within lastWords. A close over unread bytes is a reset: it would throw away what is still on its way to the
// client. One that goes on sending is cut off.
func (s *session) part() {
	_ = s.client.CloseWrite()
	_ = s.conn.SetReadDeadline(time.Now().Add(lastWords))
	dropped := 0
	for err := error(nil); err == nil && dropped < dropMost; {
		var p []byte
		p, _, err = s.client.Next()
		dropped += len(p)
	}
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
		close(s.gone)
	})
}

// report says how the session ended. err is why the connection did.
func (s *session) report(ctx context.Context, err error) {
	log := s.log.With("up", s.up.Load(), "down", s.down.Load())
	cause := context.Cause(s.ended)
	switch {
	case errors.Is(cause, errReplaced):
		log.Warn("client hung up", "err", cause)
	case ctx.Err() != nil:
		log.Info("client hung up: the server ends")
	case errors.Is(cause, rfc2217.ErrProtocol):
		log.Warn("client hung up", "err", cause)
	case cause != nil:
		log.Error("port lost, client hung up", "err", cause)
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
			s.leave()
			return err
		}
		if err := s.obey(p, e); err != nil {
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
			return err
		}
		p = p[n:]
	}
	return nil
}

// apply changes the settings. Bytes that wait in the transmit buffer were sent for the coding before: a new one waits
// until they are out, as tcsetattr does with TCSADRAIN. Lines and flow control do not wait, for they may be what the
// bytes wait for.
func (s *session) apply(e uart.Event) error {
	if e.Coding.Over(s.coding) != s.coding && !s.empties(recodePatience, always) && s.ended.Err() == nil {
		s.log.Warn("line coding changes under bytes that cannot leave", "held", s.device.Unsent())
	}
	inForce, err := s.device.Apply(e)
	if err != nil {
		return err
	}
	s.coding = inForce.Coding
	s.watch.set(inForce)
	s.log.Debug("settings", "asked", described(e), "coding", inForce.Coding.String(), "flow", inForce.Flow.String(),
		"lines", inForce.Control.String())
	return s.client.Answer(inForce)
}

// described is what a settings event asks for.
func described(e uart.Event) string {
	if e.Coding == (uart.Coding{}) && e.Flow == (uart.Flow{}) && e.Control == (uart.Control{}) {
		return "what is in force"
	}
	return e.String()[len(uart.KindSettings.String())+1:]
}

// lastBytes waits until the session is over: the client is gone and what it sent is out, or no byte has left for too
// long, or everything ends at once.
func (s *session) lastBytes() {
	look := time.NewTicker(lookAtClient)
	defer look.Stop()
	facts := watchOf(s.conn)
	for present := true; present; {
		select {
		case <-s.gone:
			present = false
		case <-s.ended.Done():
			return
		case <-look.C:
			// Where the device takes nothing, the client's FIN lies in the kernel, after bytes that nobody can read.
			if facts().Ended {
				s.leave()
			}
		}
	}
	if !s.empties(lastPatience, s.allTaken.Load) && s.ended.Err() == nil {
		s.log.Warn("bytes not sent: none has left the port for too long", "waited", lastPatience, "held", s.device.Unsent())
	}
}

// empties waits until the transmitter is empty and nothing more is to come, and reports whether that is so. It gives up
// when nothing has moved for patience, and when the session ends.
func (s *session) empties(patience time.Duration, complete func() bool) bool {
	type progress struct {
		up     uint64
		unsent time.Duration
	}
	var last progress
	since := time.Now()
	for {
		all := complete() // before Unsent: behind it nothing comes
		now := progress{s.up.Load(), s.device.Unsent()}
		if all && now.unsent == 0 {
			return true
		}
		if now != last {
			last, since = now, time.Now()
		} else if time.Since(since) >= patience {
			return false
		}
		pause := time.NewTimer(min(max(now.unsent, time.Millisecond), lookAgain))
		select {
		case <-pause.C:
		case <-s.ended.Done():
			pause.Stop()
			return false
		}
	}
}

func always() bool { return true }
