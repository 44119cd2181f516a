package uart

import (
	"fmt"
	"strings"
)

// FlowMethod is one way to make a sender pause.
type FlowMethod uint8

const (
	FlowNone    FlowMethod = iota + 1
	FlowXonXoff            // XON/XOFF characters
	FlowRTSCTS             // RTS/CTS; HARDWARE in RFC 2217
	FlowDCD                // outbound only: the device's DCD
	FlowDTR                // inbound only: our DTR
	FlowDSR                // outbound only: the device's DSR
)

var flowNames = [...]string{"", "none", "xonxoff", "rtscts", "dcd", "dtr", "dsr"}

// String returns the name that ParseFlow reads.
func (m FlowMethod) String() string {
	if int(m) < len(flowNames) {
		return flowNames[m]
	}
	return fmt.Sprintf("%#x", uint8(m))
}

// Flow is the flow control of both directions. A zero field is unset.
type Flow struct {
	Out FlowMethod // what makes this side pause: bytes to the device
	In  FlowMethod // what makes the device pause: bytes from the device
}

// String formats a flow control as ParseFlow reads it: one word if both directions agree, else "out/in".
func (f Flow) String() string {
	if f.Out == f.In {
		return f.Out.String()
	}
	return f.Out.String() + "/" + f.In.String()
}

// ParseFlow parses none, xonxoff, rtscts, or two methods separated by a slash: outbound, then inbound. dtr is inbound
// only, dcd and dsr are outbound only. An empty side is unset.
func ParseFlow(s string) (Flow, error) {
	out, in, two := strings.Cut(s, "/")
	if !two {
		in = out
	}
	f := Flow{Out: flowMethod(out), In: flowMethod(in)}
	if (f.Out == 0) != (out == "") || (f.In == 0) != (in == "") || s == "/" ||
		f.Out == FlowDTR || f.In == FlowDCD || f.In == FlowDSR {
		return Flow{}, fmt.Errorf("flow control %q: want none, xonxoff, rtscts, or outbound/inbound as in xonxoff/none", s)
	}
	return f, nil
}

func flowMethod(s string) FlowMethod {
	for i, name := range flowNames {
		if s == name {
			return FlowMethod(i)
		}
	}
	return 0
}

// Over returns base overridden by the fields that f sets.
func (f Flow) Over(base Flow) Flow {
	if f.Out == 0 {
		f.Out = base.Out
	}
	if f.In == 0 {
		f.In = base.In
	}
	return f
}
