package telnet_test

import (
	"fmt"

	"telnetcpc/bridge/telnet"
)

// A data byte 255 would begin a command, so it goes over the wire twice.
func ExampleAppendData() {
	wire := telnet.AppendData(nil, []byte("5 \xff V"))
	wire = telnet.AppendVerb(wire, telnet.DO, telnet.Binary)
	fmt.Printf("%q\n", wire)
	// Output: "5 \xff\xff V\xff\xfd\x00"
}

// A Decoder returns the data before a command, then the command. It may be given the bytes in any pieces: here a doubled
// 255 and a subnegotiation are cut in two.
func ExampleDecoder() {
	var d telnet.Decoder
	for _, piece := range []string{"5 \xff", "\xff V\xff\xfd\x00\xff\xfa\x2c\x65", "\x00\x00\x4b\x00\xff\xf0 ok"} {
		for p := []byte(piece); len(p) > 0; {
			var data []byte
			var m telnet.Message
			data, m, p = d.Decode(p)
			if len(data) > 0 {
				fmt.Printf("data %q\n", data)
			}
			switch {
			case m.Command.Verb():
				fmt.Println(m.Command, m.Option)
			case m.Command == telnet.SB:
				fmt.Printf("SB %v % x\n", m.Option, m.Sub)
			}
		}
	}
	// Output:
	// data "5 "
	// data "\xff V"
	// DO BINARY
	// SB COM-PORT 65 00 00 4b 00
	// data " ok"
}

// Options answers each verb at most once, so that two of them never negotiate for ever (RFC 1143).
func ExampleOptions() {
	var o telnet.Options // refuses everything
	fmt.Printf("% x\n", o.Receive(nil, telnet.WILL, telnet.Echo))

	o.AllowUs = func(opt telnet.Option) bool { return opt == telnet.Binary }
	fmt.Printf("% x\n", o.Receive(nil, telnet.DO, telnet.Binary))
	fmt.Println("bytes for a second DO:", len(o.Receive(nil, telnet.DO, telnet.Binary)))
	fmt.Println("BINARY on our side:", o.Us(telnet.Binary))
	// Output:
	// ff fe 01
	// ff fb 00
	// bytes for a second DO: 0
	// BINARY on our side: true
}
