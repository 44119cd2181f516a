//go:build unix

package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/testenv"
)

var errOver = errors.New("the client has ended the connection")

// talk is one connection of the hostile server, and how far it has come.
type talk struct {
	*game
	conn *net.TCPConn
	done atomic.Int64  // steps that are done
	over chan struct{} // closed by hear: the client has ended the connection, or the server is deaf

	one  bool // a byte at a time
	mute bool // deaf

	mu    sync.Mutex
	heard []byte        // since what was awaited last
	more  chan struct{} // closed, and made again, when there is more
}

// play does all steps, then keeps the connection until the row is over. It is started by serve.
func (g *game) play(conn *net.TCPConn, first bool) {
	c := &talk{game: g, conn: conn, over: make(chan struct{}), more: make(chan struct{})}
	if first {
		g.first.Store(c)
	}
	defer conn.Close()
	g.talks.Go(c.hear) // ends when the connection does, or when the server is deaf
	var err error
	for _, s := range g.row.all() {
		if err = verbs[s.verb](c, s.args); err != nil {
			g.tell("server: %s: %v", s, err)
			break
		}
		c.done.Add(1)
	}
	if first {
		g.played <- err
	}
	ended := c.over
	if c.mute || g.row.must == holds {
		ended = nil // it stays, whatever the client does
	}
	if err == nil {
		select {
		case <-ended:
		case <-g.over.Done():
		}
	}
}

// hear reads what the client says.
func (c *talk) hear() {
	defer close(c.over)
	buf := make([]byte, 8<<10)
	for {
		n, err := c.conn.Read(buf)
		c.mu.Lock()
		if len(c.heard)+n > 64<<10 { // nobody awaits it
			c.heard = c.heard[:0]
		}
		c.heard = append(c.heard, buf[:n]...)
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits until the client has said p, behind what was awaited last.
func (c *talk) await(p []byte) error {
	late := time.After(testenv.Patience)
	for {
		c.mu.Lock()
		at, more := bytes.Index(c.heard, p), c.more
		if at >= 0 {
			c.heard = append(c.heard[:0], c.heard[at+len(p):]...)
		}
		c.mu.Unlock()
		if at >= 0 {
			return nil
		}
		select {
		case <-more:
		case <-c.game.over.Done():
			return errOver
		case <-late:
			return fmt.Errorf("not heard within %v", testenv.Patience)
		case <-c.over:
			c.mu.Lock()
			at := bytes.Index(c.heard, p)
			c.mu.Unlock()
			if at < 0 {
				return errOver
			}
		}
	}
}

// say writes p. Where the client takes nothing, it gives up when the row is over: serve closes the connection.
func (c *talk) say(p []byte) error {
	if !c.one {
		_, err := c.conn.Write(p)
		return err
	}
	for i := range p {
		if _, err := c.conn.Write(p[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// flood says the same over and over, until all is out, the client is gone, or it has taken nothing for a while.
func (c *talk) flood(kind string) error {
	if kind == "endless" {
		if err := c.say([]byte{255, 250, 44, 100}); err != nil {
			return err
		}
	}
	_ = c.conn.SetWriteBuffer(32 << 10) // what is sent has been taken, or nearly
	p, most := c.blocks[kind], floodMost
	if c.one {
		most /= 100 // of system calls there are as many
	}
	for sent, looked := 0, 0; sent < most; {
		if sent-looked >= floodLook { // and says nothing meanwhile
			looked = sent
			c.look()
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(floodStuck))
		err := c.say(p)
		switch {
		case isTimeout(err):
			c.tell("server: flood %s: after %d bytes nothing is taken", kind, sent)
			c.look()
			return nil
		case err != nil:
			c.tell("server: flood %s: after %d bytes: %v", kind, sent, err)
			return nil // the client has had enough
		}
		sent += len(p)
		c.flooded.Add(int64(len(p)))
	}
	_ = c.conn.SetWriteDeadline(time.Time{})
	c.look()
	return nil
}

// floodLook is after how many bytes of a flood memory is looked at.
const floodLook = 256 << 10

// floodStuck is how long a flood goes on that nobody takes.
const floodStuck = 5 * time.Second

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// verbs are the steps. An error ends the row's conversation.
var verbs = map[string]func(c *talk, args []string) error{}

func init() { // it would refer to itself
	verbs["say"] = func(c *talk, args []string) error { return c.say(c.must(args)) }
	verbs["await"] = func(c *talk, args []string) error { return c.await(c.must(args)) }
	verbs["single"] = func(c *talk, _ []string) error { c.one = true; return nil }
	verbs["flood"] = func(c *talk, args []string) error { return c.flood(args[0]) }
	verbs["drip"] = func(c *talk, args []string) error { return c.drip(args) }
	verbs["number"] = func(c *talk, args []string) error {
		return c.say(numbered(strings.Join(args, " "), c.numbers.Add(1)))
	}
	verbs["wait"] = func(c *talk, args []string) error {
		c.pause(args[0])
		return nil
	}
	verbs["deaf"] = func(c *talk, _ []string) error {
		c.mute = true
		_ = c.conn.SetReadBuffer(4 << 10)
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
		return nil
	}
	verbs["half-close"] = func(c *talk, _ []string) error { return c.conn.CloseWrite() }
	verbs["close"] = func(c *talk, _ []string) error { return c.conn.Close() }
	verbs["reset"] = func(c *talk, _ []string) error {
		_ = c.conn.SetLinger(0)
		if err := c.conn.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
	verbs["device"] = func(c *talk, args []string) error {
		if err := c.say([]byte(args[0])); err != nil {
			return err
		}
		return c.app.gets(args[0])
	}
	verbs["application"] = func(c *talk, args []string) error {
		c.app.writes([]byte(args[0]))
		return c.await([]byte(args[0]))
	}
	verbs["application-stops"] = func(c *talk, _ []string) error { c.app.stops(); return nil }
	verbs["application-writes"] = func(c *talk, args []string) error {
		n, err := strconv.Atoi(args[0])
		c.app.writes(bytes.Repeat([]byte{'w'}, n))
		return err
	}
}

// must is bytes, of a table that was checked.
func (g *game) must(args []string) []byte {
	p, err := g.table.bytes(args)
	if err != nil {
		panic(err)
	}
	return p
}

// drip says a byte, or a word where there are several, each so often.
func (c *talk) drip(args []string) error {
	pieces := args[1:]
	if len(pieces) == 1 {
		pieces = nil
		for word := args[1]; word != ""; word = word[2:] {
			pieces = append(pieces, word[:2])
		}
	}
	for _, p := range pieces {
		c.pause(args[0])
		if err := c.say(c.must([]string{p})); err != nil {
			c.tell("server: the drip ends: %v", err)
			return nil // the client has had enough
		}
	}
	return nil
}

// pause says nothing for a time, which is a part of the row.
func (c *talk) pause(text string) {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	select {
	case <-time.After(d):
	case <-c.game.over.Done():
	}
}
