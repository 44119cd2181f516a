//go:build unix

package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// floodMost is the length of a flood in bytes: three times what a session may cost in memory.
const floodMost = 3 << 20

// floods are the kinds of floods. Each returns a block that is sent again and again until floodMost. It consists of whole
// commands.
var floods = map[string]func() []byte{
	// Verbs: of all options except COM-PORT-OPTION, which would be agreement; of one option; on and off.
	"verbs":         verbsOfAll,
	"same-verb":     func() []byte { return verb(telnet.DO, 200) },
	"turned-verb":   func() []byte { return append(verb(telnet.WILL, 1), verb(telnet.WONT, 1)...) },
	"turned-binary": func() []byte { return append(verb(telnet.WILL, telnet.Binary), verb(telnet.WONT, telnet.Binary)...) },
	"marks":         func() []byte { return verb(telnet.DO, telnet.TimingMark) },

	// Commands of COM-PORT-OPTION.
	"modem":   func() []byte { return append(command(7, 0x10), command(7, 0x20)...) },
	"line":    func() []byte { return append(command(6, 0x10), command(6, 0x0e)...) },
	"suspend": func() []byte { return append(command(8), command(9)...) },
	"baud": func() []byte {
		return append(command(1, 0, 0, 0x25, 0x80), command(1, 0, 0, 0x4b, 0)...)
	},
	"changing-baud": bauds,
	"signature":     func() []byte { return command(0) },

	// Unknown subnegotiations, and one that does not end.
	"unknown": func() []byte { return telnet.AppendSub(nil, 24, []byte{1}) },
	"long":    func() []byte { return telnet.AppendSub(nil, telnet.ComPort, bytes.Repeat([]byte("long "), 200)) },
	"endless": func() []byte { return nil }, // talk.flood sends its beginning, once

	"text": func() []byte { return []byte("welcome to this access server, which has a long banner\r\n") },
	"nop":  func() []byte { return []byte{255, 241} },
}

// block returns the block of a flood, repeated to about 16 KiB a write.
func block(kind string) []byte {
	p := floods[kind]()
	if kind == "endless" {
		p = []byte("never ends ")
	}
	return bytes.Repeat(p, max(1, 16<<10/len(p)))
}

func verb(c telnet.Command, o telnet.Option) []byte { return telnet.AppendVerb(nil, c, o) }

// command returns a command of the server.
func command(c rfc2217.Code, value ...byte) []byte {
	return telnet.AppendSub(nil, telnet.ComPort, append([]byte{byte(c + rfc2217.FromServer)}, value...))
}

func verbsOfAll() (p []byte) {
	for o := range 256 {
		if telnet.Option(o) != telnet.ComPort {
			p = append(append(p, verb(telnet.WILL, telnet.Option(o))...), verb(telnet.DO, telnet.Option(o))...)
		}
	}
	return p
}

func bauds() (p []byte) {
	for n := range 1000 {
		p = append(p, command(1, binary.BigEndian.AppendUint32(nil, uint32(1000+n))...)...)
	}
	return p
}

// control replaces ^[ by ESC, and so on.
func control(text string) []byte {
	var p []byte
	for i := 0; i < len(text); i++ {
		if text[i] == '^' && i+1 < len(text) {
			i++
			p = append(p, text[i]&0x1f)
			continue
		}
		p = append(p, text[i])
	}
	return p
}

// numbered returns a line that differs from all before.
func numbered(text string, n int64) []byte { return fmt.Appendf(control(text), " %d\r\n", n) }
