package remote_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

// A URL becomes a session: parse, dial, write to the device, read from it. The access server here simulates a UART with a
// loopback plug.
func Example() {
	quiet := slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	server := accessserver.New(accessserver.Config{Open: (&simulate.Loopback{}).Open, Log: quiet})
	go func() { served <- server.Serve(ctx, l) }() // ended by cancel
	defer func() {
		cancel()
		<-served
	}()

	u, err := remote.Parse("rfc2217://" + l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	r, err := remote.New(u, remote.Options{Log: quiet})
	if err != nil {
		log.Fatal(err)
	}
	session, err := r.Dial(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	if _, err := session.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}
	for got := ""; len(got) < len("hello"); {
		p, e, err := session.Next()
		if err != nil {
			log.Fatal(err)
		}
		if e.Kind == uart.KindData {
			got += string(p)
		}
		if got == "hello" {
			fmt.Println(got)
		}
	}
	// Output: hello
}
