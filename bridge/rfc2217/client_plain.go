package rfc2217

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"telnetcpc/bridge/telnet"
)

// plainPatience is how long a Telnet server may leave us without an answer to BINARY and SGA before the session begins
// without.
const plainPatience = time.Second

// wantedPlain is wanted, without COM-PORT-OPTION.
func wantedPlain(o telnet.Option) bool { return o == telnet.Binary || o == telnet.SGA }

// binary has data coded by whether BINARY is on in each direction. With COM-PORT-OPTION it is transparent anyhow.
func (c *Client) binary() {
	c.decoder.NVT = !c.options.Peer(telnet.Binary)
	c.nvt.Store(!c.options.Us(telnet.Binary))
}

// openPlain asks for BINARY and SGA both ways, and waits for the answers: what the application writes before that would go
// out as an NVT's and arrive, at a server that agrees a moment later, with a NUL after each CR.
func (c *Client) openPlain(ctx context.Context) error {
	c.binary()
	if err := c.writeCommands(appendWanted(nil, &c.options)); err != nil {
		return err
	}
	until := time.Now().Add(plainPatience)
	for (c.options.Asked(telnet.Binary) || c.options.Asked(telnet.SGA)) && c.keeps() <= openingKeeps {
		data, m, err := c.within(ctx, until)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil && ctx.Err() == nil && c.queue.Len() > 0:
			// What it has said is data: a display that tells its weight and closes. Nothing is given to it any more: who is
			// to be told that a line is in use would lose that.
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
