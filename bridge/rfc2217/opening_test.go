package rfc2217_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// TestOpeningConcludes drives the machine without a connection: what comes at which second, and the last thing at which
// there is a conclusion. A dot is the time that the opening waits until, "end" the peer's close.
func TestOpeningConcludes(t *testing.T) {
	const mark = "fffd06"
	for _, tt := range []struct {
		name, comes string
		sends       string
		want        rfc2217.Conclusion
	}{
		{"agreed", do44, "WILL COM-PORT", rfc2217.Agreed},
		{"agreed after a text", "'hello " + do44, "WILL COM-PORT", rfc2217.Agreed},
		{"agreed to our DO", willSGA + " . " + will44,
			"WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO COM-PORT", rfc2217.Agreed},
		{"refused", dont44, "WILL COM-PORT", rfc2217.Refused},
		{"left unanswered", willSGA + " . .", "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO COM-PORT", rfc2217.Refused},
		{"silent", ".", "WILL COM-PORT", rfc2217.Silent},
		{"echoes", will44 + " " + do44 + " " + mark + " .", "WILL COM-PORT, DO COM-PORT, DO TIMING-MARK", rfc2217.EchoesBack},
		{"echoes, and answers the mark", will44 + " " + do44 + " " + markWont, "WILL COM-PORT, DO COM-PORT, DO TIMING-MARK", rfc2217.Agreed},
		{"echoes, and leaves the mark alone", will44 + " " + do44 + " .", "WILL COM-PORT, DO COM-PORT, DO TIMING-MARK", rfc2217.Agreed},
		{"text", "'12.5 .", "WILL COM-PORT", rfc2217.NotTelnet},
		{"text that does not stop", strings.Repeat("'1 ", 4), "WILL COM-PORT", rfc2217.NotTelnet},
		{"text, and the end", "'12.5 end", "WILL COM-PORT", rfc2217.NotTelnet},
		{"a 255 before data", "ff01 ff02 .", "WILL COM-PORT", rfc2217.NotTelnet},
		{"busy", "'BUSY .", "WILL COM-PORT", rfc2217.NotTelnet},
		{"busy, and the end", "'line_BUSY end", "WILL COM-PORT", rfc2217.PortInUse},
		{"a text with busy in a word, and the end", "'BusyBox_admin_user end", "WILL COM-PORT", rfc2217.NotTelnet},
		{"in use, in pieces, and the end", "'port_in 'use end", "WILL COM-PORT", rfc2217.NotTelnet},
		{"in use, and the end", "'port_in_use end", "WILL COM-PORT", rfc2217.PortInUse},
		{"no device", "'port_not_opened:_busy .", "WILL COM-PORT", rfc2217.NoDevice},
		{"the end", "end", "WILL COM-PORT", rfc2217.Closed},
		{"Telnet, and the end", willSGA + " end", "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA", rfc2217.Closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var options telnet.Options
			var decoder telnet.Decoder
			o := rfc2217.NewOpening(&options)
			now := time.Unix(1000, 0)
			out := o.Start(now)
			steps := strings.Fields(tt.comes)
			for i, step := range steps {
				if o.Conclusion() != rfc2217.Undecided {
					t.Fatalf("%v before %q, the step %d", o.Conclusion(), step, i)
				}
				switch {
				case step == "end":
					o.End()
				case step == ".":
					now = o.Until()
					out = o.Timeout(out, now)
				case step[0] == '\'':
					now = now.Add(time.Second)
					o.Data([]byte(strings.ReplaceAll(step[1:], "_", " ")), now)
				default:
					_, m, _ := decoder.Decode(unhex(t, step))
					if m.Command.Verb() {
						out = o.Verb(out, m, now)
					} else {
						o.Command(m, now)
					}
				}
			}
			if got := o.Conclusion(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got := verbs(out); got != tt.sends {
				t.Errorf("sent %q, want %q", got, tt.sends)
			}
		})
	}
}

// TestOpeningText: however much text comes, an opening keeps its beginning alone.
func TestOpeningText(t *testing.T) {
	var options telnet.Options
	o := rfc2217.NewOpening(&options)
	now := time.Unix(1000, 0)
	o.Start(now)
	for i := range 1000 {
		o.Data(fmt.Appendf(nil, "line %d\n", i), now)
	}
	if text := o.Text(); len(text) != 256 || !strings.HasPrefix(string(text), "line 0\nline 1\n") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}
