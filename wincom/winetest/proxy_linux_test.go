package winetest

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// proxy is a TCP proxy between a client and its access server. It records the commands of both: the server's
// acknowledgements show what a pty does not.
type proxy struct {
	net.Listener
	server string

	mu       sync.Mutex        // guards the rest
	sessions int               // ever opened
	active   int               // open now
	requests []rfc2217.Command // from the client
	replies  []rfc2217.Command // from the server
	coding   uart.Coding       // the client's last request
	sent     []sentByte        // the client's bytes, each with coding at that moment
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, server: server}
	var all sync.WaitGroup
	all.Go(func() { // until the listener is closed
		for {
			client, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() { p.join(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return p
}

func (p *proxy) url() string { return "rfc2217://" + p.Addr().String() }

// join copies bytes in both directions until either side has closed.
func (p *proxy) join(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.sessions++
	p.active++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.active--
	}()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(io.MultiWriter(&parser{record: p.recordClient}, server), client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(io.MultiWriter(&parser{record: p.recordServer}, client), server)
	_ = client.Close()
	up.Wait()
}

// parser separates data and commands of one direction of a connection.
type parser struct {
	decoder telnet.Decoder
	record  func(data []byte, commands []rfc2217.Command)
}

func (l *parser) Write(b []byte) (int, error) {
	for rest := slices.Clone(b); len(rest) > 0; {
		data, m, after := l.decoder.Decode(rest)
		var commands []rfc2217.Command
		if m.Command == telnet.SB && m.Option == telnet.ComPort {
			for sub := m.Sub; len(sub) > 0; {
				c, more, err := rfc2217.ParseCommand(sub)
				if err != nil {
					break
				}
				c.Text = nil // belongs to the decoder
				commands, sub = append(commands, c), more
			}
		}
		l.record(data, commands)
		rest = after
	}
	return len(b), nil
}

func (p *proxy) recordClient(data []byte, commands []rfc2217.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range data {
		p.sent = append(p.sent, sentByte{b, p.coding})
	}
	p.requests = append(p.requests, commands...)
	for _, c := range commands {
		p.coding = codingOf(c).Over(p.coding)
	}
}

func (p *proxy) recordServer(_ []byte, commands []rfc2217.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range commands {
		c.Code -= rfc2217.FromServer
		p.replies = append(p.replies, c)
	}
}

// codingOf returns the part of the line coding that a command sets.
func codingOf(c rfc2217.Command) (coding uart.Coding) {
	switch c.Code {
	case rfc2217.SetBaudRate:
		coding.Baud = c.Baud
	case rfc2217.SetDataSize:
		coding.DataBits = c.Value
	case rfc2217.SetParity:
		coding.Parity = uart.Parity(c.Value)
	case rfc2217.SetStopSize:
		coding.StopBits = uart.StopBits(c.Value)
	}
	return coding
}

// acknowledged returns the line coding that the server has acknowledged.
func (p *proxy) acknowledged() (coding uart.Coding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.replies {
		coding = codingOf(c).Over(coding)
	}
	return coding
}

// controls returns the values of the SET-CONTROLs among commands: p.requests or p.replies.
func (p *proxy) controls(commands *[]rfc2217.Command) (values []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range *commands {
		if c.Code == rfc2217.SetControl {
			values = append(values, c.Value)
		}
	}
	return values
}

// sentBytes returns the client's bytes.
func (p *proxy) sentBytes() []sentByte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

// clients returns how many sessions there have been, and how many are open.
func (p *proxy) clients() (sessions, active int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions, p.active
}
