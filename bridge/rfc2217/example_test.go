package rfc2217_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// bufferedPipe is net.Pipe between two ends that may both write at once, as over TCP.
func bufferedPipe() (near, far net.Conn) {
	near, a := net.Pipe()
	b, far := net.Pipe()
	relay := func(to, from net.Conn) { // ends with the close of either end
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}
	go relay(b, a)
	go relay(a, b)
	return near, far
}

// A client and an access server agree on COM-PORT-OPTION, and the client sets 19200 7E1.
func Example() {
	near, far := bufferedPipe()
	ctx := context.Background()

	served := make(chan string)
	go func() { // the access server; ends when it has answered one request
		defer close(served)
		s, err := rfc2217.Accept(ctx, far, rfc2217.ServerConfig{})
		if err != nil {
			served <- err.Error()
			return
		}
		_, request, err := s.Next()
		if err != nil {
			served <- err.Error()
			return
		}
		// A real server applies the request to its UART here, and answers with what is in force after that.
		_ = s.Answer(request)
		served <- fmt.Sprint("server: ", request)
	}()

	c, err := rfc2217.Open(ctx, near, rfc2217.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	coding, _ := uart.ParseCoding("19200 7E1")
	if err := c.Apply(uart.Event{Kind: uart.KindSettings, Coding: coding}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-served)
	_ = c.Close()
	// Output: server: settings 19200 7E1
}

// Quirks are named as the flag --quirk has them.
func ExampleParseQuirks() {
	quirks, err := rfc2217.ParseQuirks("single-ff", "keep-greeting")
	fmt.Println(quirks, err)
	_, err = rfc2217.ParseQuirks("double-ff")
	fmt.Println(err)
	// Output:
	// single-ff, keep-greeting <nil>
	// "double-ff": want suspend-ignore, single-ff or keep-greeting
}
