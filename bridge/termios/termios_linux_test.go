package termios

import (
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// Every line coding that a termios can express is read from it and written to it, with every rate that has a code.
func TestCodings(t *testing.T) {
	all := map[uint32]uint32{unix.B0: 0}
	for code, rate := range rates {
		all[code] = rate
	}
	for bits, size := range map[uint8]uint32{5: unix.CS5, 6: unix.CS6, 7: unix.CS7, 8: unix.CS8} {
		for parity, flags := range map[uart.Parity]uint32{
			uart.ParityNone: 0, uart.ParityOdd: unix.PARENB | unix.PARODD, uart.ParityEven: unix.PARENB,
			uart.ParityMark: unix.PARENB | unix.PARODD | unix.CMSPAR, uart.ParitySpace: unix.PARENB | unix.CMSPAR,
		} {
			for stop, more := range map[uart.StopBits]uint32{uart.Stop1: 0, uart.Stop2: unix.CSTOPB} {
				for code, rate := range all {
					tio := unix.Termios{Cflag: size | flags | more | code}
					FillSpeeds(&tio)
					want := uart.Coding{Baud: rate, DataBits: bits, Parity: parity, StopBits: stop}
					if got := Coding(&tio); got != want || tio.Ispeed != rate {
						t.Fatalf("%#o: got %v, input %d, want %v", tio.Cflag, got, tio.Ispeed, want)
					}
					if rate == 0 {
						continue
					}
					// Nothing of what was set before is left.
					set := unix.Termios{Cflag: ^uint32(0)}
					SetCoding(&set, want)
					const kept = ^uint32(speedBits | codingBits)
					if set.Cflag&^kept != tio.Cflag || set.Cflag&kept != kept || set.Ispeed != rate || set.Ospeed != rate {
						t.Fatalf("set %v: got %#o, %d and %d baud, want %#o", want, set.Cflag, set.Ispeed, set.Ospeed, tio.Cflag)
					}
				}
			}
		}
	}
}

// Rates without a code, two speeds, and what is left of a B0.
func TestSpeeds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		tio     unix.Termios
		out, in uint32
		split   bool
	}{
		{"BOTHER, input as output", unix.Termios{Cflag: unix.BOTHER | unix.CS8, Ospeed: 31250, Ispeed: 7}, 31250, 31250, false},
		{"two codes", unix.Termios{Cflag: unix.B9600 | unix.B1200<<inputShift}, 9600, 1200, true},
		{"two numbers", unix.Termios{Cflag: unix.BOTHER | unix.BOTHER<<inputShift, Ospeed: 75, Ispeed: 1200}, 75, 1200, true},
		{"B0", unix.Termios{Cflag: unix.B0, Ospeed: 9600, Ispeed: 9600}, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			FillSpeeds(&tt.tio)
			if tt.tio.Ospeed != tt.out || tt.tio.Ispeed != tt.in {
				t.Errorf("got %d, input %d, want %d, %d", tt.tio.Ospeed, tt.tio.Ispeed, tt.out, tt.in)
			}
			if got := SplitSpeed(&tt.tio); got != tt.split {
				t.Errorf("two speeds: got %v", got)
			}
		})
	}
	tio := unix.Termios{Cflag: unix.B9600 | unix.B1200<<inputShift}
	SetCoding(&tio, uart.Coding{Baud: 31250})
	if tio.Cflag != unix.BOTHER || tio.Ospeed != 31250 || tio.Ispeed != 31250 {
		t.Errorf("31250 baud: got %#o, %d, input %d", tio.Cflag, tio.Ospeed, tio.Ispeed)
	}
}
