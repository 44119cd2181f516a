package rfc2217

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"telnetcpc/bridge/telnet"
)

// plainPatience is how long to wait for a Telnet server's answers to BINARY and SGA before the session begins without them.
const plainPatience = time.Second

// wantedPlain reports whether an option may be on, on either side, without COM-PORT-OPTION.
func wantedPlain(o telnet.Option) bool { return o == telnet.Binary || o == telnet.SGA }

// binary sets how data is coded in each direction, by whether BINARY is on. With COM-PORT-OPTION data is always transparent.
func (c *Client) binary() {
	c.decoder.NVT = !c.options.Peer(telnet.Binary)
	c.nvt.Store(!c.options.Us(telnet.Binary))
}

// openPlain requests BINARY and SGA in both directions and waits for the answers. Bytes that the application wrote before
// them would be sent as NVT data, with a NUL after each CR, and the NUL would reach the device if the server agrees a
// moment later.
func (c *Client) openPlain(ctx context.Context) error {
	c.binary()
	if err := c.writeCommands(appendWanted(nil, &c.options)); err != nil {
		return err
	}
	until := time.Now().Add(plainPatience)
	for (c.options.Asked(telnet.Binary) || c.options.Asked(telnet.SGA)) && c.memory() <= openingMemory {
		data, m, err := c.within(ctx, until)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil && ctx.Err() == nil && c.queue.Len() > 0:
			// Its text is data, for example from a scale that sends a weight and closes. Nothing is sent to it any more: a reset
			// would lose the text, which may be that the line is in use.
			c.end = err
			c.closeWrite()
			return nil
		case err != nil:
			return fmt.Errorf("closed by the peer before Telnet was negotiated: %w", err)
		case m.Command != 0:
			err = c.handle(m)
		default:
			c.queue.Push(data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
