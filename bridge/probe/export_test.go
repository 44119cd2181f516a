package probe

import (
	"context"
	"net"
)

// Each probes listeners that the test has found.
var Each = each

// OnConn probes on a connection that the test has made.
func OnConn(ctx context.Context, conn net.Conn, thorough bool) *Report {
	p := newProber(ctx, conn)
	p.thorough, p.rawHint = thorough, "a raw port?"
	return p.run(ctx)
}
