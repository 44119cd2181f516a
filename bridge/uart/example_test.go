package uart_test

import (
	"fmt"

	"telnetcpc/bridge/uart"
)

// A change of one field over what is in force, and how an event prints in a log.
func Example() {
	inForce, err := uart.ParseCoding("19200 7E1")
	if err != nil {
		fmt.Println(err)
		return
	}
	change := uart.Coding{Baud: 300} // the other fields are unset
	inForce = change.Over(inForce)
	fmt.Println(inForce)
	fmt.Println(inForce.LineTime(30)) // 30 bytes of 10 bits

	e := uart.Event{Kind: uart.KindSettings, Coding: change, Control: uart.Control{RTS: uart.LevelOn}}
	fmt.Println(e)
	// Output:
	// 300 7E1
	// 1s
	// settings 300 RTS on
}

func ExampleParseCoding_error() {
	_, err := uart.ParseCoding("9N1")
	fmt.Println(err)
	// Output:
	// line coding "9N1": want data bits 5 to 8, parity N, O, E, M or S, stop bits 1, 1.5 or 2, as in 7E1
}
