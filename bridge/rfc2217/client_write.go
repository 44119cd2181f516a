package rfc2217

import (
	"time"

	"telnetcpc/bridge/uart"
)

// Write sends bytes to the device, in order with Apply. n counts the bytes that were given to TCP whole. It takes a piece
// of p where the server is slow, and leaves the rest to the caller, without an error. The first call waits for the first
// answer of the server, a moment at most: see awaitAnswer.
func (c *Client) Write(p []byte) (n int, err error) {
	if c.unwritten {
		c.unwritten = false
		if err := c.awaitAnswer(); err != nil {
			return 0, err
		}
	}
	return c.writeData(p)
}

// Apply sends what the event says in one segment and waits for no answer. The first call is the whole known state of
// the port; the line states that the port can show are asked for behind it.
func (c *Client) Apply(e uart.Event) error {
	if c.plain {
		return nil // Fidelity has said so
	}
	if e.Kind == uart.KindPurge {
		return c.writeCommands(AppendCommand(nil, Command{Code: PurgeData, Value: byte(e.Purge)}))
	}
	p := AppendSettings(nil, e)
	if c.first && c.cfg.LineMask != 0 {
		p = AppendCommand(p, Command{Code: SetLineMask, Value: byte(c.cfg.LineMask)})
	}
	if c.first {
		c.first, c.answerBy = false, time.Now().Add(c.answerTime())
	}
	if len(p) == 0 {
		return nil
	}
	if err := c.acks.ask(e, time.Now()); err != nil {
		return err
	}
	return c.writeCommands(p)
}

// Mark asks for a mark behind everything written so far (RFC 860). It reports whether one is under way that may be
// answered; false: this server has shown nothing but COM-PORT-OPTION, and would perhaps give the request to its UART, or
// it has left our own first mark without an answer so far, or our half is closed.
func (c *Client) Mark() bool {
	if overdue := c.fence.Load(); overdue != nil && !time.Now().Before(*overdue) {
		return false
	}
	return c.speaks.Load() && c.askMark()
}
