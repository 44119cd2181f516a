package remote

import "telnetcpc/bridge/rfc2217"

// Quirks are those of rfc2217, for callers that choose them by name and need not know the protocol.
type Quirks = rfc2217.Quirks

// AllQuirks returns all quirks, with their names and what they mean.
func AllQuirks() []rfc2217.Quirk { return rfc2217.AllQuirks() }

// ParseQuirks returns the set of the named quirks.
func ParseQuirks(names ...string) (Quirks, error) { return rfc2217.ParseQuirks(names...) }
