package ftdi_test

import (
	"math"
	"testing"

	"telnetcpc/bridge/usb/ftdi"
)

// checkBaud wants a rate to decode to itself or to another one with the same divisor.
func checkBaud(t *testing.T, baud uint32, encode func(uint32) uint32) {
	t.Helper()
	value := encode(baud)
	if got := ftdi.Decode(value); got == 0 || encode(got) != value {
		t.Fatalf("%d baud, divisor %#x: got %d, which has another divisor", baud, value, got)
	}
}

// old returns the divisor of an older driver, as in Linux 5.10: the slow clock for all rates, up to 3 Mbaud.
func old(baud uint32) uint32 { return slowDivisor(baud, 3_000_000) }

// slowest is the lowest rate whose divisor the driver can send.
const slowest = 23

// TestEveryBaudRate: all rates up to 300000 baud, and many above.
func TestEveryBaudRate(t *testing.T) {
	limit := uint32(300_000)
	if testing.Short() {
		limit = 20_000
	}
	for baud := uint32(slowest); baud < limit; baud++ {
		checkBaud(t, baud, driverDivisor)
		checkBaud(t, baud, old)
	}
	for baud := limit; baud <= 12_000_000; baud += 97 {
		checkBaud(t, baud, driverDivisor)
		if baud <= 3_000_000 {
			checkBaud(t, baud, old)
		}
	}
}

// TestBaudExact: usual and round rates are decoded exactly.
func TestBaudExact(t *testing.T) {
	for _, baud := range append(ftdi.UsualRates, 12345, 5000, 10000, 20000, 40000, 90000, 200000, 400000, 800000) {
		if got := ftdi.Decode(driverDivisor(baud)); got != baud {
			t.Errorf("%d baud: got %d", baud, got)
		}
		if baud <= 3_000_000 {
			if got := ftdi.Decode(old(baud)); got != baud {
				t.Errorf("%d baud by an old driver: got %d", baud, got)
			}
		}
	}
	if got := ftdi.Decode(driverDivisor(math.MaxUint32)); got != 9600 {
		t.Errorf("too fast for the driver: got %d, want its 9600", got)
	}
}

// FuzzBaud: every divisor decodes to a rate with that divisor, or to none, and decode returns.
func FuzzBaud(f *testing.F) {
	for _, value := range []uint32{0, 1, 0x4138, 0x2000a, 0x3ffff, 0x1ffff, math.MaxUint32} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value uint32) {
		baud := ftdi.Decode(value)
		if baud == 0 || value&0x1ffff == 0x4001 { // 1.5 in full, for which drivers send 1
			return
		}
		encode := old
		if value&(1<<17) != 0 {
			encode = func(baud uint32) uint32 { return slowDivisor(baud, 12_000_000) | 1<<17 }
		}
		if got := encode(baud); got != value {
			t.Errorf("%#x is %d baud, which is %#x", value, baud, got)
		}
	})
}
