package rfc2217

import (
	"time"

	"telnetcpc/bridge/uart"
)

// Write sends bytes to the device, in order with Apply. n is how many bytes of p were given to TCP, also if it fails; if
// the server is slow, it is less than len(p) without an error, and the caller writes the rest. Write does not keep p. The
// first call waits for the server's first answer: twice the round trip, 0.1 s at least (see awaitAnswer).
func (c *Client) Write(p []byte) (n int, err error) {
	if c.firstWrite {
		c.firstWrite = false
		if err := c.awaitAnswer(); err != nil {
			return 0, err
		}
	}
	return c.writeData(p)
}

// Apply sends the settings or the purge of an event in one write and waits for no answer. The first call must be the whole
// known state of the port; Apply requests the line states of Config.LineMask after it.
func (c *Client) Apply(e uart.Event) error {
	if c.plain {
		return nil // Fidelity is nothing
	}
	if e.Kind == uart.KindPurge {
		return c.writeCommands(AppendCommand(nil, Command{Code: PurgeData, Value: byte(e.Purge)}))
	}
	p := AppendSettings(nil, e)
	if c.firstApply && c.cfg.LineMask != 0 {
		p = AppendCommand(p, Command{Code: SetLineMask, Value: byte(c.cfg.LineMask)})
	}
	if c.firstApply {
		c.firstApply, c.answerBy = false, time.Now().Add(c.answerTime())
	}
	if len(p) == 0 {
		return nil
	}
	if err := c.acks.request(e, time.Now()); err != nil {
		return err
	}
	return c.writeCommands(p)
}

// Mark requests a mark after everything written before (TIMING-MARK, RFC 860); Next reports its answer as
// uart.KindMarked. It reports whether one is under way. It returns false if the server has negotiated nothing but
// COM-PORT-OPTION and might pass the request on to its UART, if the opening's own mark is overdue, or if our half is
// closed. Any goroutine may call it; it never blocks.
func (c *Client) Mark() bool {
	if overdue := c.firstMarkDue.Load(); overdue != nil && !time.Now().Before(*overdue) {
		return false
	}
	return c.negotiates.Load() && c.askMark()
}
