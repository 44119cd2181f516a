package interop

import (
	endian "encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// modbus is an RTU slave: it answers requests to read and to write holding registers ("MODBUS over serial line", 2.5).
type modbus struct {
	address   byte
	registers [16]uint16
}

// serve answers each request that the device receives, until reading fails. Only its length shows the end of a request.
func (m *modbus) serve(d *device) {
	var got []byte
	buf := make([]byte, 256)
	for {
		n, err := d.Read(buf)
		if err != nil {
			return
		}
		got = append(got, buf[:n]...)
		size := 8
		if len(got) > 6 && got[1] == 16 {
			size = 9 + int(got[6])
		}
		if len(got) < size {
			continue
		}
		answer := m.answer(got[:size])
		got = nil
		if _, err := d.Write(answer); err != nil {
			return
		}
	}
}

// answer returns the reply to a request; nil if it is not for this slave.
func (m *modbus) answer(request []byte) []byte {
	body, sum := request[:len(request)-2], endian.LittleEndian.Uint16(request[len(request)-2:])
	if body[0] != m.address || crc16(body) != sum {
		return nil
	}
	from, count := int(endian.BigEndian.Uint16(body[2:])), int(endian.BigEndian.Uint16(body[4:]))
	var reply []byte
	switch function := body[1]; {
	case function == 6 && from < len(m.registers):
		m.registers[from] = uint16(count)
		reply = body
	case from+count > len(m.registers):
		reply = []byte{m.address, function | 0x80, 2} // illegal data address
	case function == 3:
		reply = []byte{m.address, function, byte(2 * count)}
		for _, v := range m.registers[from : from+count] {
			reply = endian.BigEndian.AppendUint16(reply, v)
		}
	case function == 16:
		for i := range count {
			m.registers[from+i] = endian.BigEndian.Uint16(body[7+2*i:])
		}
		reply = body[:6:6]
	default:
		reply = []byte{m.address, function | 0x80, 1} // illegal function
	}
	return endian.LittleEndian.AppendUint16(reply[:len(reply):len(reply)], crc16(reply))
}

func crc16(p []byte) uint16 {
	sum := uint16(0xffff)
	for _, c := range p {
		sum ^= uint16(c)
		for range 8 {
			odd := sum&1 != 0
			if sum >>= 1; odd {
				sum ^= 0xa001
			}
		}
	}
	return sum
}

// A Modbus master reads registers, writes some, and reads them back, each time as a new process at 19200 8N1.
func TestModbus(t *testing.T) {
	t.Parallel()
	need(t, "mbpoll")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	slave := &modbus{address: 7, registers: [16]uint16{255, 0xff00, 13, 65535, 17}}
	_ = d.SetDeadline(time.Time{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		slave.serve(d)
	}()
	t.Cleanup(func() {
		_ = d.SetDeadline(time.Now())
		<-ended
	})
	poll := func(values ...string) string {
		t.Helper()
		args := append([]string{"-m", "rtu", "-a", "7", "-b", "19200", "-d", "8", "-P", "none", "-s", "1", "-o", "10", "-1", "-t", "4"}, values...)
		p := start(t, exec.Command("mbpoll", args...))
		p.wait(t)
		return p.out.String()
	}
	reads := func(want ...string) {
		t.Helper()
		out := poll("-r", "1", "-c", "5", a.path)
		for i, v := range want {
			if line := fmt.Sprintf("[%d]: \t%s", i+1, v); !strings.Contains(out, line) {
				t.Errorf("mbpoll prints %q, want %q in it", out, line)
			}
		}
	}
	reads("255", "65280 (-256)", "13", "65535 (-1)", "17")
	d.arrives(t, termios{baud: 19200, stop: 1})
	poll("-r", "3", a.path, "4711")
	poll("-r", "4", a.path, "1", "2")
	reads("255", "65280 (-256)", "4711", "1", "2")
}

// sentence returns an NMEA 0183 sentence with its checksum.
func sentence(text string) string {
	var sum byte
	for i := range len(text) {
		sum ^= text[i]
	}
	return fmt.Sprintf("$%s*%02X\r\n", text, sum)
}

// A GPS receiver as the device: gpsd detects it and reports the position to its clients.
func TestGPS(t *testing.T) {
	t.Parallel()
	need(t, "gpsd", "gpspipe")
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url(), "--mode", "666")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // such a receiver sends this every second, here every 0.1 s; it ignores requests
		defer close(ended)
		buf := make([]byte, 4096)
		for i := 0; ; i++ {
			now := fmt.Sprintf("1235%02d.00", i%60)
			fix := sentence("GPRMC,"+now+",A,4807.038,N,01131.000,E,000.0,084.4,230394,003.1,W") +
				sentence("GPGGA,"+now+",4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,") +
				sentence("GPGSA,A,3,04,05,09,12,24,25,29,31,,,,,2.5,1.3,2.1")
			if d.send([]byte(fix)) != nil {
				return
			}
			_ = d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := d.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		<-ended
	})
	port := freePort(t)
	start(t, exec.Command(sbin("gpsd"), "-N", "-n", "-S", fmt.Sprint(port), a.path))
	eventually(t, "gpsd reports the position", func() bool {
		out, _ := exec.Command("gpspipe", "-w", "-x", "3", fmt.Sprintf("localhost:%d", port)).Output() // it may not listen yet
		report := string(out)
		return strings.Contains(report, `"class":"TPV"`) && strings.Contains(report, `"lat":48.1173`) && strings.Contains(report, `"lon":11.5166`)
	})
}

// Terminal programs: what a person types reaches the device with the requested settings, and its replies are shown.
func TestTerminalPrograms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, ready string
		command     func(path string) *exec.Cmd
		ask, leave  string // keys that ask to leave, and keys that confirm
		want        termios
	}{
		{"minicom", "Press", func(path string) *exec.Cmd {
			return exec.Command("minicom", "-o", "-D", path, "-b", "19200", "-8")
		}, "\x01x", "\r", termios{baud: 19200, stop: 1, rtscts: true}}, // its configuration's default
		{"tio", "Connected", func(path string) *exec.Cmd {
			return exec.Command("tio", "-b", "38400", "-s", "2", path)
		}, "", "\x14q", termios{baud: 38400, stop: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			need(t, tt.name)
			d := newDevice(t)
			s := startSer2net(t, d)
			cmd := tt.command(attach(t, s.url()).path)
			cmd.Env = append(os.Environ(), "TERM=vt100", "LC_ALL=C", "HOME="+t.TempDir())
			screen, program := terminal(t, cmd)
			screen.shows(t, tt.ready)
			exchange(t, screen, d.line, []byte("a person types"))
			if got := d.termios(t); got != tt.want {
				t.Errorf("the device has %+v, want %+v", got, tt.want)
			}
			if err := d.send([]byte("and the device answers")); err != nil {
				t.Fatal(err)
			}
			screen.shows(t, "and the device answers")
			if err := screen.send([]byte(tt.ask)); err != nil {
				t.Fatal(err)
			}
			screen.typeUntilEnd(program, tt.leave)
			program.wait(t)
		})
	}
}

// typeUntilEnd types keys again and again, and reads the screen, until the program has ended: keys are lost that are
// typed while the program draws its question.
func (l *line) typeUntilEnd(p *process, keys string) {
	buf := make([]byte, 4096)
	for end := time.Now().Add(testenv.Patience); !p.ended() && time.Now().Before(end); {
		_ = l.send([]byte(keys)) // fails if the program has just ended
		for again := time.Now().Add(300 * time.Millisecond); !p.ended() && time.Now().Before(again); {
			_ = l.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, _ = l.Read(buf)
		}
	}
}
