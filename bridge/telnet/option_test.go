package telnet_test

import (
	"fmt"
	"strings"
	"testing"

	"telnetcpc/bridge/telnet"
)

func only(opt telnet.Option) func(telnet.Option) bool {
	return func(o telnet.Option) bool { return o == opt }
}

// talk plays a conversation: "< WILL 3" is received; "+us 3", "-us 3", "+peer 3" and "-peer 3" are requested. It returns what
// was sent.
func talk(t *testing.T, o *telnet.Options, script string) string {
	t.Helper()
	verbs := map[string]telnet.Command{"WILL": telnet.WILL, "WONT": telnet.WONT, "DO": telnet.DO, "DONT": telnet.DONT}
	var answers []byte
	for _, line := range strings.Split(script, ";") {
		var what, verb string
		var opt telnet.Option
		switch line = strings.TrimSpace(line); line[0] {
		case '<':
			if _, err := fmt.Sscan(line, &what, &verb, &opt); err != nil {
				t.Fatal(line, err)
			}
			answers = o.Receive(answers, verbs[verb], opt)
		default:
			if _, err := fmt.Sscan(line, &what, &opt); err != nil {
				t.Fatal(line, err)
			}
			switch what {
			case "+us", "-us":
				answers = o.AskUs(answers, opt, what[0] == '+')
			default:
				answers = o.AskPeer(answers, opt, what[0] == '+')
			}
		}
	}
	var d telnet.Decoder
	return strings.Join(words(&d, answers), ", ")
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name, script, want string
		us, peer           bool // of option 3
	}{
		{name: "offer taken", script: "< WILL 3", want: "DO SGA", peer: true},
		{name: "request taken", script: "< DO 3", want: "WILL SGA", us: true},
		{name: "offer refused", script: "< WILL 1", want: "DONT ECHO"},
		{name: "request refused", script: "< DO 1", want: "WONT ECHO"},
		{name: "sent again: no answer", script: "< WILL 3; < WILL 3; < WILL 3", want: "DO SGA", peer: true},
		{name: "refusal of what is off: no answer", script: "< DONT 3; < WONT 3; < DONT 1", want: ""},
		{name: "withdrawn", script: "< WILL 3; < WONT 3", want: "DO SGA, DONT SGA"},
		{name: "asked and granted", script: "+us 3; < DO 3", want: "WILL SGA", us: true},
		{name: "asked and refused", script: "+us 3; < DONT 3", want: "WILL SGA"},
		{name: "asked twice", script: "+us 3; +us 3; < DO 3; +us 3", want: "WILL SGA", us: true},
		{name: "asked when it is", script: "< DO 3; +us 3", want: "WILL SGA", us: true},
		{name: "both ask at once", script: "+peer 3; < WILL 3", want: "DO SGA", peer: true},
		{name: "off again before the answer", script: "+us 3; -us 3; < DO 3; < DONT 3", want: "WILL SGA, WONT SGA"},
		{name: "off and on before the answer", script: "< WILL 3; -peer 3; +peer 3; < WONT 3; < WILL 3", want: "DO SGA, DONT SGA, DO SGA", peer: true},
		{name: "off answered with on", script: "< WILL 3; -peer 3; < WILL 3", want: "DO SGA, DONT SGA"},
		{name: "switched off", script: "< DO 3; -us 3; < DONT 3", want: "WILL SGA, WONT SGA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := telnet.Options{AllowUs: only(telnet.SGA), AllowPeer: only(telnet.SGA)}
			if got := talk(t, &o, tt.script); got != tt.want {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
			if o.Us(telnet.SGA) != tt.us || o.Peer(telnet.SGA) != tt.peer {
				t.Errorf("us %v, peer %v, want %v, %v", o.Us(telnet.SGA), o.Peer(telnet.SGA), tt.us, tt.peer)
			}
		})
	}
}

// TestOptionsTwoMachines: two of them that want different things stop sending, whatever both request.
func TestOptionsTwoMachines(t *testing.T) {
	all := func(telnet.Option) bool { return true }
	for seed := range 1 << 8 {
		a := telnet.Options{AllowUs: all, AllowPeer: only(telnet.SGA)}
		b := telnet.Options{AllowUs: only(telnet.SGA), AllowPeer: all}
		var toB, toA []byte
		for i := range 4 {
			opt, enable := telnet.Option(1+2*(seed>>i&1)), seed>>(i+4)&1 == 1
			toB = a.AskUs(toB, opt, enable)
			toA = b.AskPeer(toA, opt, !enable)
		}
		for round := 0; len(toA)+len(toB) > 0; round++ {
			if round > 8 {
				t.Fatalf("seed %#x: they do not come to rest", seed)
			}
			toA, toB = answer(&b, toB), answer(&a, toA)
		}
		for _, opt := range []telnet.Option{telnet.Echo, telnet.SGA} {
			if a.Us(opt) != b.Peer(opt) || a.Peer(opt) != b.Us(opt) {
				t.Errorf("seed %#x: they do not agree on %v", seed, opt)
			}
		}
	}
}

// answer makes o receive verbs and returns the answers.
func answer(o *telnet.Options, verbs []byte) (answers []byte) {
	for ; len(verbs) > 0; verbs = verbs[3:] {
		answers = o.Receive(answers, telnet.Command(verbs[1]), telnet.Option(verbs[2]))
	}
	return answers
}
