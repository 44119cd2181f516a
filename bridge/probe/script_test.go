package probe_test

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/telnet"
)

// traces has the recorded conversations with real servers; its README describes the format.
const traces = "../rfc2217/testdata/trace"

// reply is what a server answers to one message.
type reply struct {
	pieces [][]byte // as they were recorded, one a segment
	closes bool     // the connection ended then
}

// script is a server that answers each message as it was recorded, whenever the message comes.
type script struct {
	greeting [][]byte
	replies  map[string]reply // by the message's bytes
	deaf     bool             // it reads nothing
}

// recorded makes a server from the recordings of a real one. It answers a message that was recorded more than once as it
// did the first time, and a message that was never recorded not at all.
func recorded(t *testing.T, name string) *script {
	t.Helper()
	s := &script{replies: map[string]reply{}}
	for _, topic := range []string{"nego", "baud", "dps", "ctl"} {
		f, err := os.Open(filepath.Join(traces, name, topic+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.read(f); err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		_ = f.Close()
	}
	return s
}

// read adds the steps of one recording. After a "!", lines belong to a new connection, up to the next step.
func (s *script) read(r io.Reader) error {
	var message string
	var recorded reply
	passive, over := false, false
	end := func() {
		if _, known := s.replies[message]; message != "" && !known {
			s.replies[message] = recorded
		}
		message, recorded, over = "", reply{}, false
	}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		kind, text, _ := strings.Cut(lines.Text(), " ")
		switch {
		case kind == "=":
			end()
			passive = text == "passive"
		case kind == "!" && message != "":
			recorded.closes, over = true, true
		case over, kind != ">" && kind != "<":
		default:
			b, err := hex.DecodeString(text)
			switch {
			case err != nil:
				return err
			case kind == ">":
				message = string(b)
			case passive:
				s.greeting = append(s.greeting, b)
			default:
				recorded.pieces = append(recorded.pieces, b)
			}
		}
	}
	end()
	return nil
}

// answer makes the server answer a message with these pieces; with none, not at all.
func (s *script) answer(message string, pieces ...string) *script {
	var r reply
	for _, p := range pieces {
		r.pieces = append(r.pieces, []byte(p))
	}
	s.replies[message] = r
	return s
}

// returns reports whether the server answers a message with the message itself.
func (s *script) returns(message string) bool {
	return string(slices.Concat(s.replies[message].pieces...)) == message
}

// oneWay is the one-way delay of a message, in fake time.
const oneWay = time.Millisecond

// serve plays the server until the client closes, and returns the messages and the bytes of data that came.
func (s *script) serve(conn net.Conn) (messages []string, data []byte) {
	out := make(chan reply, 1<<12)
	written := make(chan struct{})
	go func() { // ended by the close of out; the pipe has no buffer, so the reader must not write
		defer close(written)
		for r := range out {
			for _, p := range r.pieces {
				time.Sleep(oneWay)
				if _, err := conn.Write(p); err != nil {
					break
				}
			}
			if r.closes {
				_ = conn.Close()
			}
		}
	}()
	defer func() {
		close(out)
		<-written
	}()
	out <- reply{pieces: s.greeting}
	if s.deaf {
		<-written
	}
	var decoder telnet.Decoder
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			_ = conn.Close()
			return messages, data
		}
		for rest := buf[:n]; len(rest) > 0; {
			var p []byte
			var m telnet.Message
			p, m, rest = decoder.Decode(rest)
			data = append(data, p...)
			if m.Command == 0 {
				continue
			}
			messages = append(messages, string(encoded(m)))
			r := s.replies[messages[len(messages)-1]]
			time.Sleep(oneWay)
			out <- r
		}
	}
}

func encoded(m telnet.Message) []byte {
	switch {
	case m.Command == telnet.SB:
		return telnet.AppendSub(nil, m.Option, m.Sub)
	case m.Command.Verb():
		return telnet.AppendVerb(nil, m.Command, m.Option)
	}
	return telnet.AppendCommand(nil, m.Command)
}
