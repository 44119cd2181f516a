package ftdi

// SET_BAUD_RATE has a divisor of the chip's clock, in eighths: 14 bits for the whole part, three bits for the eighths (by a
// table), and one that selects the clock. The driver rounds to the nearest eighth, so several rates have the same divisor; see
// ftdi_2232h_baud_base_to_divisor and ftdi_232bm_baud_base_to_divisor in drivers/usb/serial/ftdi_sio.c. decode finds the rate
// that the application most likely asked for.

const (
	divisorFast  = 1 << 17 // the 12 MHz clock, instead of 3 MHz
	wholeBits    = 14
	eighthsFast  = 12_000_000 * 8
	eighthsSlow  = 3_000_000 * 8
	fastFrom     = 1200 // baud: below it the fast clock's divisor would not fit
	maxFast      = 12_000_000
	maxSlow      = 3_000_000
	overflowing  = 184 // baud: below it the slow clock's divisor does not fit either, and overflows into the eighths
	divisorBits  = divisorFast - 1
	divisorOne   = 0      // means 1
	divisorThree = 1      // means 1.5
	writtenThree = 0x4001 // 1.5 as a regular code; the driver sends divisorThree instead
)

// eighthCode has the three bits for 0 to 7 eighths.
var eighthCode = [8]uint32{0, 3, 2, 4, 1, 5, 6, 7}

// usualRates are the rates that programs use. If two have the same divisor, the more usual one is first.
var usualRates = []uint32{
	9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 4800, 2400, 1200, 600, 300,
	50, 75, 110, 134, 150, 200, 1800, 500000, 576000, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
	7200, 14400, 28800, 31250, 33600, 56000, 62500, 74880, 76800, 100000, 125000, 128000, 153600, 187500, 250000, 256000,
	307200, 614400, 750000, 1228800, 1382400, 1843200, 3686400, 6000000, 8000000, 12000000,
}

// encode returns the value of SET_BAUD_RATE, bits 0 to 17, that the driver sends for a rate with one of the clocks.
func encode(baud uint32, fast bool) uint32 {
	base, flag := uint32(eighthsSlow), uint32(0)
	if fast {
		base, flag = eighthsFast, divisorFast
	}
	eighths := (base + baud/2) / baud
	code := eighths>>3 | eighthCode[eighths&7]<<wholeBits
	switch code {
	case 1:
		code = divisorOne
	case writtenThree:
		code = divisorThree
	}
	return code | flag
}

// decode returns the rate that an application most likely asked for: a usual rate with this divisor, else the roundest one. 0:
// there is none. Below 23 baud the driver's value is meaningless: the divisor overflows into the bit that selects the clock.
func decode(value uint32) uint32 {
	if value >= 2*divisorFast {
		return 0
	}
	fast := value&divisorFast != 0
	limit := uint32(maxSlow)
	if fast {
		limit = maxFast
	}
	for _, baud := range usualRates {
		if baud <= limit && encode(baud, fast) == value {
			return baud
		}
	}
	if !fast {
		for baud := uint32(overflowing); baud > 0; baud-- {
			if encode(baud, fast) == value {
				return baud
			}
		}
	}
	low, high := sharing(value&divisorBits, fast)
	return roundest(low, min(high, limit))
}

// sharing returns the lowest and the highest rate that the driver rounds to this divisor.
func sharing(code uint32, fast bool) (low, high uint32) {
	base := uint32(eighthsSlow)
	if fast {
		base = eighthsFast
	}
	eighths := uint32(8)
	switch code {
	case divisorOne:
	case divisorThree:
		eighths = 12
	default:
		eighths = code & (1<<wholeBits - 1) << 3
		for n, c := range eighthCode {
			if c == code>>wholeBits {
				eighths |= uint32(n)
			}
		}
	}
	if eighths == 0 {
		return 0, 0
	}
	// The rates whose exact divisor is within half an eighth of this one.
	return 2*base/(2*eighths+1) + 1, 2 * base / (2*eighths - 1)
}

// roundest returns the number from low to high with the fewest significant digits, the lowest of several; 0 if there is none.
func roundest(low, high uint32) uint32 {
	if low > high || low == 0 {
		return 0
	}
	for step := uint32(1_000_000_000); step > 1; step /= 10 {
		for _, part := range []uint32{step, step / 2} {
			if n := (low + part - 1) / part * part; n <= high {
				return n
			}
		}
	}
	return low
}
