package terminal_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/terminal"
)

// The program reads everything in the moment between a write that finds no room and the request to be woken by room.
// Nothing else happens then that could wake the writer.
func TestRoomThatComesBeforeItIsAskedFor(t *testing.T) {
	var term *terminal.Terminal
	var slave int
	fill := func() {
		for term.WriteMaster(make([]byte, 4096)) > 0 {
		}
	}
	drain := func() {
		buf := make([]byte, 4096)
		for {
			if n, err := unix.Read(slave, buf); n <= 0 || err != nil {
				return
			}
		}
	}
	var tryWrite func() bool
	term, err := terminal.New(devpath.Access{UID: -1, GID: -1, Mode: 0o600}, func() bool { return false }, func() bool { return tryWrite() })
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	if slave, err = term.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(slave)
	for round := range 20 {
		fill()
		tries := 0
		tryWrite = func() bool {
			tries++
			done := term.WriteMaster([]byte{'x'}) > 0
			if tries == 1 && round > 0 { // too late for this try
				drain()
			}
			return done
		}
		written := make(chan error, 1)
		go func() { written <- term.WaitWrite() }() // ends with room
		if round == 0 {
			drain()
		}
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			term.PokeWriter()
			t.Fatalf("round %d: the write still waits, though there is room", round)
		}
		drain()
	}
}
