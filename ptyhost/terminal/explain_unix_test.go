//go:build linux || darwin || freebsd

package terminal

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whichever of a port's descriptors exceeds the limit, the error contains the remedy, once.
func TestExplainLimit(t *testing.T) {
	for name, err := range map[string]error{
		"the pty":    explainOpen(unix.EMFILE),
		"the master": fmt.Errorf("the pty's master: %w", unix.EMFILE),
		"the system": fmt.Errorf("epoll: %w", unix.ENFILE),
	} {
		if got := ExplainLimit(ExplainLimit(err)).Error(); strings.Count(got, moreFiles) != 1 {
			t.Errorf("%s: got %q, want the remedy once", name, got)
		}
	}
	if got := ExplainLimit(unix.EIO); got != unix.EIO {
		t.Errorf("another error: got %v, want it as it was", got)
	}
}
