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

// tap stands between a client and its access server and knows what each has said: what a pty hides, the server's
// acknowledgement tells.
type tap struct {
	net.Listener
	server string

	mu       sync.Mutex        // over what follows
	sessions int               // so far
	active   int               // now
	asked    []rfc2217.Command // by the client
	answered []rfc2217.Command // by the server
	coding   uart.Coding       // what the client has asked for last
	sent     []sentByte        // by the client, with what it had asked for before
}

func newTap(t *testing.T, server string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{Listener: l, server: server}
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

func (p *tap) url() string { return "rfc2217://" + p.Addr().String() }

// join carries bytes both ways until either side has closed.
func (p *tap) join(client net.Conn) {
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
		_, _ = io.Copy(io.MultiWriter(&listener{hear: p.hearClient}, server), client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(io.MultiWriter(&listener{hear: p.hearServer}, client), server)
	_ = client.Close()
	up.Wait()
}

// listener takes one way of a connection apart.
type listener struct {
	decoder telnet.Decoder
	hear    func(data []byte, commands []rfc2217.Command)
}

func (l *listener) Write(b []byte) (int, error) {
	for rest := slices.Clone(b); len(rest) > 0; {
		data, m, behind := l.decoder.Decode(rest)
		var commands []rfc2217.Command
		if m.Command == telnet.SB && m.Option == telnet.ComPort {
			for sub := m.Sub; len(sub) > 0; {
				c, more, err := rfc2217.ParseCommand(sub)
				if err != nil {
					break
				}
				c.Text = nil // not kept
				commands, sub = append(commands, c), more
			}
		}
		l.hear(data, commands)
		rest = behind
	}
	return len(b), nil
}

func (p *tap) hearClient(data []byte, commands []rfc2217.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range data {
		p.sent = append(p.sent, sentByte{b, p.coding})
	}
	p.asked = append(p.asked, commands...)
	for _, c := range commands {
		p.coding = codingOf(c).Over(p.coding)
	}
}

func (p *tap) hearServer(_ []byte, commands []rfc2217.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range commands {
		c.Code -= rfc2217.FromServer
		p.answered = append(p.answered, c)
	}
}

// codingOf is what a command says of the line coding.
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

// acknowledged is the line coding that the server says is in force.
func (p *tap) acknowledged() (coding uart.Coding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.answered {
		coding = codingOf(c).Over(coding)
	}
	return coding
}

// controls are the values of the SET-CONTROLs of the client, or of the server.
func (p *tap) controls(commands *[]rfc2217.Command) (values []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range *commands {
		if c.Code == rfc2217.SetControl {
			values = append(values, c.Value)
		}
	}
	return values
}

// sentBytes are the client's bytes so far.
func (p *tap) sentBytes() []sentByte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

// clients is how many sessions there have been, and how many there are.
func (p *tap) clients() (sessions, active int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions, p.active
}
