package serialport_test

import (
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/uart"
)

// A program that does not know BOTHER, as most C libraries do not, reads a standard rate by its code with TCGETS, in both
// directions. Other rates have no code, and are exact all the same.
func TestStandardRates(t *testing.T) {
	p := devicetest.NewPlug(t)
	d := open(t, p)
	for _, tt := range []struct{ baud, code uint32 }{
		{0, unix.B9600}, // as opened
		{50, unix.B50}, {134, unix.B134}, {300, unix.B300}, {19200, unix.B19200}, {38400, unix.B38400},
		{115200, unix.B115200}, {921600, unix.B921600}, {4000000, unix.B4000000},
		{250000, unix.BOTHER}, {74880, unix.BOTHER}, {9601, unix.BOTHER}, {115200, unix.B115200},
	} {
		t.Run(strconv.Itoa(int(tt.baud)), func(t *testing.T) {
			inForce, err := d.Apply(uart.Event{Coding: uart.Coding{Baud: tt.baud}})
			if err != nil {
				t.Fatal(err)
			}
			plain, err := unix.IoctlGetTermios(int(p.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			if got := plain.Cflag & unix.CBAUD; got != tt.code {
				t.Errorf("CBAUD: got %#o, want %#o", got, tt.code)
			}
			if got := plain.Cflag & unix.CIBAUD; got != 0 && got>>16 != tt.code {
				t.Errorf("CIBAUD: got %#o, want none or %#o", got>>16, tt.code)
			}
			if tt.baud != 0 && inForce.Coding.Baud != tt.baud {
				t.Errorf("in force: got %d, want %d", inForce.Coding.Baud, tt.baud)
			}
		})
	}
}
