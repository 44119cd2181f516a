package accessserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// The storm: clients of every kind come and go at random over real TCP, some through TLS. What must hold: there is one owner at a
// time; each byte of a client that closes in order is sent once and in its place; no client that wants the device waits forever;
// nothing is left over. TELNETCPC_STORM_SEED repeats one, TELNETCPC_STORM_TIME sets how long it runs.
func TestStormServe(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 15 s")
	}
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	if text := os.Getenv("TELNETCPC_STORM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("TELNETCPC_STORM_SEED: %v", err)
		}
		newServeStorm(t, seed, own).run()
		return
	}
	lasts := 8 * time.Second
	if text := os.Getenv("TELNETCPC_STORM_TIME"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("TELNETCPC_STORM_TIME: %v", err)
		}
	}
	seed, until := uint64(time.Now().UnixNano()), time.Now().Add(lasts)
	var workers sync.WaitGroup
	var rounds atomic.Int64
	for range 3 {
		workers.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				newServeStorm(t, seed+uint64(rounds.Add(1)), own).run()
			}
		})
	}
	workers.Wait()
	t.Logf("%d rounds from seed %d on", rounds.Load(), seed+1)
}

const (
	// stormClients is how many of each round want the device and close in order, stormOthers how many others are there.
	stormClients, stormOthers = 3, 5
	// stormBaud is the baud rate of the first client of a round. Each client has its own rate, which identifies it at the UART.
	// The line takes no time.
	stormBaud = 20_000_000
)

type serveStorm struct {
	*testing.T
	seed   uint64
	addr   string
	client *tls.Config // nil: no TLS
	over   context.Context

	mu     sync.Mutex
	random *rand.Rand
	open   int
	sent   map[uint32]*bytes.Buffer // by baud rate
	log    bytes.Buffer
	server *accessserver.Server
	finish func() // of the server
}

// Write collects the log.
func (s *serveStorm) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *serveStorm) pick(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func newServeStorm(t *testing.T, seed uint64, own *issued) *serveStorm {
	s := &serveStorm{T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), sent: make(map[uint32]*bytes.Buffer)}
	l := listen(t)
	s.addr = l.Addr().String()
	device := new(simulate.Loopback)
	device.Observe(s.observe)
	config := accessserver.Config{Open: device.Open, Watchers: 2 * s.pick(2),
		Log: slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if s.pick(3) == 0 {
		config.TLS, s.client = loadTLS(t, accessserver.TLSFiles{Cert: own.cert, Key: own.key}), own.trusts()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.server = accessserver.New(config)
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(ctx, l) }()
	s.finish = sync.OnceFunc(func() {
		cancel()
		began := time.Now()
		select {
		case err := <-ended:
			if err != nil {
				s.Errorf("seed %d: serve: %v", seed, err)
			}
		case <-time.After(testenv.Patience):
			s.Errorf("seed %d: the server has not ended in %v", seed, testenv.Patience)
		}
		if took := time.Since(began); took > inTime {
			s.Errorf("seed %d: the server ended after %v", seed, took)
		}
	})
	return s
}

// observe records what the UART does. The client is the one with its baud rate.
func (s *serveStorm) observe(r simulate.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Event.Kind {
	case uart.KindOpened:
		if s.open++; s.open > 1 {
			s.Errorf("seed %d: the device is open twice", s.seed)
		}
	case uart.KindClosed:
		s.open--
	case uart.KindData:
		if s.sent[r.Coding.Baud] == nil {
			s.sent[r.Coding.Baud] = new(bytes.Buffer)
		}
		s.sent[r.Coding.Baud].Write(r.Data)
	}
}

func (s *serveStorm) run() {
	defer func() {
		if s.Failed() {
			said := s.log.String()
			s.Logf("seed %d: the server said last:\n%s", s.seed, said[max(0, len(said)-20_000):])
		}
	}()
	var over context.CancelFunc
	s.over, over = context.WithCancel(context.Background())
	defer over()
	var clients, others sync.WaitGroup
	for range stormOthers {
		others.Go(func() {
			for s.over.Err() == nil {
				s.disturb()
			}
		})
	}
	for i := range stormClients {
		clients.Go(func() {
			for turn := range 2 {
				s.orderly(stormBaud + uint32(10*i+turn))
			}
		})
	}
	clients.Wait()
	if s.pick(2) == 0 { // stop the server meanwhile
		s.finish()
	}
	over()
	others.Wait()
	for end := time.Now().Add(testenv.Patience); ; time.Sleep(time.Millisecond) {
		owners, watchers, visitors := s.server.Held()
		if owners+watchers+visitors == 0 {
			break
		}
		if time.Now().After(end) {
			s.Errorf("seed %d: %d own, %d watch and %d visit, and all have gone", s.seed, owners, watchers, visitors)
			break
		}
	}
	s.finish()
}

// dial connects. It returns nil if the storm or the server has ended, or if the TLS handshake fails in time.
func (s *serveStorm) dial() net.Conn {
	conn, err := (&net.Dialer{Timeout: testenv.Patience}).Dial("tcp", s.addr)
	if err != nil {
		return nil
	}
	if s.client == nil {
		return conn
	}
	c := tls.Client(conn, s.client)
	_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
	if c.Handshake() != nil {
		_ = conn.Close()
		return nil
	}
	return c
}

// orderly is a client that dials until it has the device. Then it sends a text and closes its half; what it sent must have come back
// when the server closes the other.
func (s *serveStorm) orderly(baud uint32) {
	var text bytes.Buffer
	for size := 1 + s.pick(30_000); text.Len() < size; {
		fmt.Fprintf(&text, "%d.%d;", baud, text.Len())
	}
	for began := time.Now(); ; time.Sleep(time.Duration(s.pick(300)) * time.Millisecond) { // as a bridge does after a failure
		if time.Since(began) > testenv.Patience {
			s.Errorf("seed %d: %d has not had the device in %v", s.seed, baud, testenv.Patience)
			return
		}
		conn := s.dial()
		if conn == nil {
			continue
		}
		c := &caller{Conn: conn, t: s.T}
		if s.owns(c, baud) {
			s.tells(c, baud, text.Bytes())
			_ = conn.Close()
			return
		}
		_ = conn.Close()
	}
}

// owns negotiates and sets a baud rate of its own. It owns the device if the UART then has that rate.
func (s *serveStorm) owns(c *caller, baud uint32) bool {
	p := telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)
	set := binary.BigEndian.AppendUint32([]byte{byte(rfc2217.SetBaudRate)}, baud)
	if _, err := c.Write(telnet.AppendSub(p, telnet.ComPort, set)); err != nil {
		return false
	}
	for {
		_, m, err := c.next()
		switch {
		case err != nil:
			return false
		case m.Command == telnet.SB && m.Option == telnet.ComPort && m.Sub[0] == byte(rfc2217.SetBaudRate+rfc2217.FromServer):
			return binary.BigEndian.Uint32(m.Sub[1:]) == baud
		}
	}
}

// tells sends the text, closes its half, and reads to the end.
func (s *serveStorm) tells(c *caller, baud uint32, text []byte) {
	go func() { // ends with the connection
		for p := text; len(p) > 0; {
			n := min(len(p), 1+s.pick(5000))
			if _, err := c.Write(p[:n]); err != nil {
				return
			}
			p = p[n:]
		}
		_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	var back []byte
	for {
		data, _, err := c.next()
		if back = append(back, data...); err != nil {
			if err != io.EOF {
				s.Errorf("seed %d: the session of %d ended with %v", s.seed, baud, err)
			}
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.sent[baud]; got == nil || !bytes.Equal(got.Bytes(), text) {
		s.Errorf("seed %d: of %d bytes of %d not all, or others, were sent", s.seed, len(text), baud)
	}
	if !bytes.Equal(back, text) {
		s.Errorf("seed %d: of %d bytes of %d %d came back, or others", s.seed, len(text), baud, len(back))
	}
}

// disturb is a client of another kind.
func (s *serveStorm) disturb() {
	conn, err := net.DialTimeout("tcp", s.addr, testenv.Patience)
	if err != nil {
		<-time.After(time.Millisecond)
		return
	}
	defer conn.Close()
	below := conn.(*net.TCPConn)
	stop := context.AfterFunc(s.over, func() { _ = below.Close() })
	defer stop()
	if s.client != nil && s.pick(4) > 0 {
		c := tls.Client(conn, s.client)
		if c.Handshake() != nil {
			return
		}
		conn = c
	}
	agree := telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)
	suspend := telnet.AppendSub(bytes.Clone(agree), telnet.ComPort, []byte{byte(rfc2217.FlowSuspend)})
	words := [][]byte{nil, agree[:1], agree[:2], agree, agree, suspend, []byte("GET / HTTP/1.0\r\n\r\n"), {22, 3, 1},
		append(bytes.Clone(agree), make([]byte, 500)...), append(bytes.Clone(suspend), make([]byte, 500)...)}
	leaves := s.pick(4)
	if s.pick(100) == 0 { // these are dropped, because it is gone; a living client that sent so many would have the device for a minute
		words, leaves = [][]byte{append(agree, make([]byte, 60_000)...)}, 2
	}
	_, _ = conn.Write(words[s.pick(len(words))])
	if s.pick(2) == 0 {
		_, _ = conn.Read(make([]byte, 100))
	}
	pause := time.NewTimer(time.Duration(s.pick(300)) * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-s.over.Done():
	}
	switch leaves {
	case 0:
		_ = below.SetLinger(0) // a reset
	case 1:
		_ = below.CloseWrite()
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	}
}
