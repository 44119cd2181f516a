package remote

import (
	"context"
	"net"
)

// ProbeConn is Probe on a connection that stands.
func ProbeConn(ctx context.Context, conn net.Conn, thorough bool) *Report {
	return probe(ctx, conn, thorough, "a raw port?")
}
