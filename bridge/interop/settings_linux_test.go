package interop

import (
	"testing"
)

var baudRates = []uint32{
	50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800,
	500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
	31250, 250000, // MIDI, DMX512: not in POSIX, but in use
	65280, // 0x0000FF00: has a byte that Telnet must double
}

func TestEveryBaudRateAndStopSize(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		app := openSession(t, attach(t, s.url()), d)
		for _, baud := range baudRates {
			for _, stop := range []int{2, 1} {
				want := termios{baud: baud, stop: stop}
				app.set(t, want)
				d.arrives(t, want)
			}
		}
	})
}

func TestFlowControl(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		app := openSession(t, attach(t, s.url()), d)
		for _, want := range []termios{
			{baud: 115200, stop: 1, rtscts: true},
			{baud: 115200, stop: 1}, // between the two: pyserial's server adds the second to the first
			{baud: 115200, stop: 1, xon: true},
			{baud: 115200, stop: 1},
			{baud: 115200, stop: 1, rtscts: true},
			{baud: 9600, stop: 2},
		} {
			app.set(t, want)
			d.arrives(t, want)
		}
	})
}

// Ten settings without a pause may merge; the last one counts, and is in force for the data after it.
func TestBurstOfSettings(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		app := openSession(t, attach(t, s.url()), d)
		for round := range 20 {
			var want termios
			for i := range 10 {
				want = termios{baud: baudRates[(7*round+3*i)%len(baudRates)], stop: 1 + (round+i)%2}
				app.set(t, want)
			}
			exchange(t, app, d.line, []byte{byte(round)})
			if got := d.termios(t); got != want {
				t.Errorf("round %d: at the byte after the settings the device had %+v, want %+v", round, got, want)
			}
		}
	})
}

// A change between data takes effect between them, as far as a pty can show: the application waits for each reply, as a
// program that reads a meter does.
func TestSettingsBetweenData(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		app := openSession(t, attach(t, s.url()), d)
		for round := range 20 {
			want := termios{baud: baudRates[round%len(baudRates)], stop: 1 + round%2}
			app.set(t, want)
			exchange(t, app, d.line, []byte("/?!\r\n"))
			if got := d.termios(t); got != want {
				t.Errorf("round %d: at the request the device had %+v, want %+v", round, got, want)
			}
			exchange(t, d.line, app, []byte("/ABC5\r\n"))
		}
	})
}

// --line and --baud override the application's settings.
func TestPinnedBaud(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startSer2net(t, d)
	app := openPort(t, attach(t, s.url(), "--baud", "2400"))
	app.set(t, termios{baud: 115200, stop: 2})
	exchange(t, app, d.line, []byte("x"))
	d.arrives(t, termios{baud: 2400, stop: 2})
}
