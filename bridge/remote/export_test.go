package remote

// ProbeConn is Probe on a connection that stands.
var ProbeConn = probe
