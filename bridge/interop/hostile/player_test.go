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

// talk is one connection of the hostile server.
type talk struct {
	*game
	conn *net.TCPConn
	done atomic.Int64  // how many steps are done
	over chan struct{} // closed by hear: the client has ended the connection, or the server is deaf

	single bool // write a byte at a time
	deaf   bool // do not read

	mu    sync.Mutex
	heard []byte        // received after what was awaited last
	more  chan struct{} // closed and replaced when bytes arrive
}

// play does all steps, then keeps the connection until the row is over. serve calls it.
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
			g.note("server: %s: %v", s, err)
			break
		}
		c.done.Add(1)
	}
	if first {
		g.played <- err
	}
	ended := c.over
	if c.deaf || g.row.must == holds {
		ended = nil // keep it, whatever the client does
	}
	if err == nil {
		select {
		case <-ended:
		case <-g.over.Done():
		}
	}
}

// hear reads from the client.
func (c *talk) hear() {
	defer close(c.over)
	buf := make([]byte, 8<<10)
	for {
		n, err := c.conn.Read(buf)
		c.mu.Lock()
		if len(c.heard)+n > 64<<10 { // no step awaits it
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

// await waits until p has arrived, after what was awaited last.
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
			return fmt.Errorf("not received within %v", testenv.Patience)
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

// send writes p. If the client does not read, it fails when the row is over, because serve closes the connection.
func (c *talk) send(p []byte) error {
	if !c.single {
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

// flood sends the same block over and over, until floodMost, or the client is gone or has not read for floodStuck.
func (c *talk) flood(kind string) error {
	if kind == "endless" {
		if err := c.send([]byte{255, 250, 44, 100}); err != nil {
			return err
		}
	}
	_ = c.conn.SetWriteBuffer(32 << 10) // so that little waits in the socket buffer
	p, most := c.blocks[kind], floodMost
	if c.single {
		most /= 100 // each byte is a system call
	}
	for sent, sampled := 0, 0; sent < most; {
		if sent-sampled >= floodSample { // and sends nothing meanwhile
			sampled = sent
			c.memory.sample()
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(floodStuck))
		err := c.send(p)
		switch {
		case isTimeout(err):
			c.note("server: flood %s: after %d bytes the client does not read", kind, sent)
			c.memory.sample()
			return nil
		case err != nil:
			c.note("server: flood %s: after %d bytes: %v", kind, sent, err)
			return nil // the client has had enough
		}
		sent += len(p)
		c.flooded.Add(int64(len(p)))
	}
	_ = c.conn.SetWriteDeadline(time.Time{})
	c.memory.sample()
	return nil
}

// floodSample is after how many bytes of a flood memory is sampled.
const floodSample = 256 << 10

// floodStuck is when a flood gives up that the client does not read.
const floodStuck = 5 * time.Second

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// verbs are the kinds of steps. An error ends the steps of the connection.
var verbs = map[string]func(c *talk, args []string) error{}

func init() { // not in the declaration: verbs would refer to itself
	verbs["send"] = func(c *talk, args []string) error { return c.send(c.bytes(args)) }
	verbs["await"] = func(c *talk, args []string) error { return c.await(c.bytes(args)) }
	verbs["single"] = func(c *talk, _ []string) error { c.single = true; return nil }
	verbs["flood"] = func(c *talk, args []string) error { return c.flood(args[0]) }
	verbs["drip"] = func(c *talk, args []string) error { return c.drip(args) }
	verbs["number"] = func(c *talk, args []string) error {
		return c.send(numbered(strings.Join(args, " "), c.numbers.Add(1)))
	}
	verbs["wait"] = func(c *talk, args []string) error {
		c.pause(args[0])
		return nil
	}
	verbs["deaf"] = func(c *talk, _ []string) error {
		c.deaf = true
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
		if err := c.send([]byte(args[0])); err != nil {
			return err
		}
		return c.app.expect(args[0])
	}
	verbs["application"] = func(c *talk, args []string) error {
		c.app.write([]byte(args[0]))
		return c.await([]byte(args[0]))
	}
	verbs["application-stops"] = func(c *talk, _ []string) error { c.app.stop(); return nil }
	verbs["application-writes"] = func(c *talk, args []string) error {
		n, err := strconv.Atoi(args[0])
		c.app.write(bytes.Repeat([]byte{'w'}, n))
		return err
	}
}

// bytes returns the bytes of a step of the table, which was checked.
func (g *game) bytes(args []string) []byte {
	p, err := g.table.bytes(args)
	if err != nil {
		panic(err)
	}
	return p
}

// drip sends a byte, or a word if there are several, in each interval.
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
		if err := c.send(c.bytes([]string{p})); err != nil {
			c.note("server: the drip ends: %v", err)
			return nil // the client has had enough
		}
	}
	return nil
}

// pause sends nothing for a time, which is part of the row.
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
