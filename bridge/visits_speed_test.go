package bridge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
)

// prompt is a far whose device answers each write.
type prompt struct {
	*far
	after   time.Duration // after the write began
	returns time.Duration // how long the write takes
}

func (p *prompt) Dial(ctx context.Context, m uart.LineState) (uart.Session, error) {
	s, err := p.far.Dial(ctx, m)
	if err != nil {
		return nil, err
	}
	return &promptSession{s.(*farSession), p}, nil
}

type promptSession struct {
	*farSession
	prompt *prompt
}

func (s *promptSession) Write(p []byte) (int, error) {
	n, err := s.farSession.Write(p)
	time.AfterFunc(s.prompt.after, func() { s.send([]byte("OK\n")) })
	time.Sleep(s.prompt.returns)
	return n, err
}

// likePty is what a pty does not carry.
const likePty = uart.CarriesDrain | uart.CarriesDTR | uart.CarriesRTS | uart.CarriesOrder

// answers reads from the port what a program that waits this long gets.
func answers(b *bench, patience time.Duration) (got string) {
	p := b.port()
	time.AfterFunc(patience, p.AppClose)
	buf := make([]byte, 64)
	for {
		n, err := p.AppRead(buf)
		if got += string(buf[:n]); err != nil {
			return got
		}
	}
}

// An access server whose line has a fixed speed, such as a USB device's, reports that when another is requested: the
// line time of the requested rate is then no reason to drop what the next program's device answers.
func TestAnswersOfAnotherSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &prompt{far: newFar(), after: time.Millisecond}
		b := start(t, bridge.Policy{}, far, likePty)
		p := b.port()
		p.AppOpen()
		far.session(0).send(uart.Event{Kind: uart.KindRefused, Coding: uart.Coding{Baud: 9600}, Answer: "115200"})
		synctest.Wait()
		p.AppClose()
		for n := range 10 {
			p.AppOpen()
			b.write("twenty bytes of it.\n") // 21 ms at 9600
			if got := answers(b, 5*time.Millisecond); got != "OK\n" {
				t.Errorf("exchange %d: read %q, want the answer", n, got)
			}
		}
		b.end()
	})
}

// On a busy machine the bytes of a write, and their answer, may have passed before the write returns.
func TestAnswerBeforeWriteReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &prompt{far: newFar(), after: 4 * time.Millisecond, returns: 3 * time.Millisecond}
		b := start(t, bridge.Policy{}, far, likePty)
		p := b.port()
		p.AppOpen()
		far.session(0)
		time.Sleep(time.Second)
		b.write("AT\n") // 3.1 ms at 9600
		p.AppClose()
		p.AppOpen()
		if got := answers(b, time.Second); got != "OK\n" {
			t.Errorf("read %q, want the answer to the question of the last open", got)
		}
		b.end()
	})
}
