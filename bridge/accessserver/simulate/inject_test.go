package simulate_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/uart"
)

const script = `# one line of each kind, not in order
at 3s data "hello\r\n"
at 500ms parity-error 0x41

   at 1s   break
at 1.2s	framing-error 0
at 1.3s overrun
at 2s modem CTS|DSR
at 2s modem none
`

func TestParseInject(t *testing.T) {
	line := func(s uart.LineState) uart.Event { return uart.Event{Kind: uart.KindLine, Line: s} }
	want := []simulate.Injection{
		{At: 500 * time.Millisecond, Event: line(uart.LineParity), Data: []byte{0x41}},
		{At: time.Second, Event: line(uart.LineBreak), Data: []byte{0}},
		{At: 1200 * time.Millisecond, Event: line(uart.LineFraming), Data: []byte{0}},
		{At: 1300 * time.Millisecond, Event: line(uart.LineOverrun)},
		{At: 2 * time.Second, Event: uart.Event{Kind: uart.KindModem, Modem: uart.CTS | uart.DSR}},
		{At: 2 * time.Second, Event: uart.Event{Kind: uart.KindModem}},
		{At: 3 * time.Second, Data: []byte("hello\r\n")},
	}
	got, err := simulate.ParseInject("x", strings.NewReader(script))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, %v, want %v", got, err, want)
	}
	var again strings.Builder
	for _, i := range got {
		fmt.Fprintln(&again, i)
	}
	got, err = simulate.ParseInject("x", strings.NewReader(again.String()))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("written and read again: got %v, %v, want %v", got, err, want)
	}
}

func TestParseInjectErrors(t *testing.T) {
	const words = `want data "text", parity-error BYTE, framing-error BYTE, overrun, break or modem LINES`
	const form = `want a line like "at 500ms break": at, a time such as 500ms or 1.2s, what happens`
	for _, c := range []struct{ line, want string }{
		{`at 1s brake`, `f:2: "brake": ` + words},
		{`at 1s`, `f:2: "": ` + words},
		{`1s break`, `f:2: "1s break": ` + form},
		{`at once break`, `f:2: "at once break": ` + form},
		{`at -1s break`, `f:2: "at -1s break": ` + form},
		{`at 1s break 250ms`, `f:2: break "250ms": want nothing after this word`},
		{`at 1s overrun # why`, `f:2: overrun "# why": want nothing after this word`},
		{`at 1s parity-error`, `f:2: parity-error "": want one byte, 0 to 255 or 0x00 to 0xff`},
		{`at 1s framing-error 256`, `f:2: framing-error "256": want one byte, 0 to 255 or 0x00 to 0xff`},
		{`at 1s modem RTS`, `f:2: modem "RTS": want CTS, DSR, DCD and RI with | between them, or none`},
		{`at 1s modem 0x01`, `f:2: modem "0x01": want CTS, DSR, DCD and RI with | between them, or none`},
		{`at 1s data hello`, `f:2: data "hello": want text in double quotes, as in "hello\r\n"`},
		{`at 1s data`, `f:2: data "": want text in double quotes, as in "hello\r\n"`},
		{`at 1s data 'h'`, `f:2: data "'h'": want text in double quotes, as in "hello\r\n"`},
		{`at 1s data "` + strings.Repeat("x", 1<<17) + `"`, "f:2: bufio.Scanner: token too long"},
	} {
		_, err := simulate.ParseInject("f", strings.NewReader("at 1s break\n"+c.line+"\n"))
		if err == nil || err.Error() != c.want {
			t.Errorf("%.40s: got %v, want %s", c.line, err, c.want)
		}
	}
}
