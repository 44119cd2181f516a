package kerneltty

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// rules is the name of our udev rules in scripts, and rulePlaces are the directories in which udev looks for it.
const rules = "60-telnetcpc.rules"

var rulePlaces = []string{"etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"}

// Notes returns what a user of this host should know about this machine, each on one line with the remedy. The host
// works nevertheless.
func (h Host) Notes() []string {
	var notes []string
	s := h.system
	ruled := slices.ContainsFunc(rulePlaces, func(dir string) bool { return s.exists(dir, rules) })
	if s.runs("ModemManager") && !ruled {
		notes = append(notes, "ModemManager runs here and may write AT commands to a new port (install scripts/"+rules+" in /etc/udev/rules.d)")
	}
	if states := strings.Fields(s.read("sys/power/state")); slices.Contains(states, "mem") || slices.Contains(states, "freeze") {
		notes = append(notes, s.sleepNote())
	}
	return notes
}

// sleepNote describes what happens to a kernel tty when the machine sleeps.
func (s system) sleepNote() string {
	if err := s.sleep.Check(context.Background()); err != nil {
		return fmt.Sprintf("this machine does not go to sleep while a kernel tty is attached: vhci_hcd refuses, and nothing announces the sleep: %v "+
			"(systemd-logind would; end telnetcpc before it, or use --host pty)", err)
	}
	return "before this machine goes to sleep a kernel tty is unplugged, and plugged in again after it: for programs the port hangs up and comes back"
}
