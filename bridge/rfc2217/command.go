package rfc2217

import (
	"encoding/binary"
	"errors"

	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// Command is one COM-PORT-OPTION command, from either side.
type Command struct {
	Code  Code
	Baud  uint32 // SET-BAUDRATE
	Value byte   // every other code with a value
	Text  []byte // SIGNATURE; ParseCommand returns a part of its argument here
}

var errShort = errors.New("a COM-PORT-OPTION command without its value")

// ParseCommand parses the first command in the value of a subnegotiation. rest is what follows it: some servers put
// several commands into one subnegotiation. A signature, a baud rate and an unknown code take all that is left of sub.
// The only error is a missing value. The command refers to sub.
//
// Of a baud rate of eight bytes, which sredird sends on a 64-bit machine, the first four count.
func ParseCommand(sub []byte) (c Command, rest []byte, err error) {
	if len(sub) == 0 {
		return c, nil, errShort
	}
	c.Code, rest = Code(sub[0]), sub[1:]
	base := c.Code
	if base >= FromServer {
		base -= FromServer
	}
	switch base {
	case Signature:
		c.Text = rest
		return c, nil, nil
	case SetBaudRate:
		if len(rest) < 4 {
			return c, nil, errShort
		}
		c.Baud = binary.BigEndian.Uint32(rest)
		return c, nil, nil
	case FlowSuspend, FlowResume:
		return c, rest, nil
	case SetDataSize, SetParity, SetStopSize, SetControl, NotifyLineState, NotifyModemState, SetLineMask, SetModemMask, PurgeData:
		if len(rest) == 0 {
			return c, nil, errShort
		}
		c.Value = rest[0]
		return c, rest[1:], nil
	}
	return c, nil, nil
}

// AppendCommand appends a command as a whole subnegotiation, each 255 doubled.
func AppendCommand(dst []byte, c Command) []byte {
	value := [5]byte{byte(c.Code)}
	base := c.Code
	if base >= FromServer {
		base -= FromServer
	}
	switch base {
	case Signature:
		return telnet.AppendSub(dst, telnet.ComPort, append(value[:1:1], c.Text...))
	case SetBaudRate:
		binary.BigEndian.PutUint32(value[1:], c.Baud)
		return telnet.AppendSub(dst, telnet.ComPort, value[:5])
	case FlowSuspend, FlowResume:
		return telnet.AppendSub(dst, telnet.ComPort, value[:1])
	}
	value[1] = c.Value
	return telnet.AppendSub(dst, telnet.ComPort, value[:2])
}

// AppendSettings appends the line coding, flow control and control lines that are set in the event, as a client's commands.
// The order is baud rate, parity, data size, stop size: esp-link applies the parity with the data size that follows.
func AppendSettings(dst []byte, e uart.Event) []byte {
	if e.Coding.Baud != 0 {
		dst = AppendCommand(dst, Command{Code: SetBaudRate, Baud: e.Coding.Baud})
	}
	if e.Coding.Parity != 0 {
		dst = AppendCommand(dst, Command{Code: SetParity, Value: byte(e.Coding.Parity)})
	}
	if e.Coding.DataBits != 0 {
		dst = AppendCommand(dst, Command{Code: SetDataSize, Value: e.Coding.DataBits})
	}
	if e.Coding.StopBits != 0 {
		dst = AppendCommand(dst, Command{Code: SetStopSize, Value: byte(e.Coding.StopBits)})
	}
	out, in := flowOut[e.Flow.Out], flowIn[e.Flow.In]
	if out != 0 {
		dst = appendControl(dst, out)
	}
	if in != 0 && e.Flow.In != e.Flow.Out {
		dst = appendControl(dst, in)
	}
	dst = appendLevel(dst, e.Control.DTR, DTROn, DTROff)
	dst = appendLevel(dst, e.Control.RTS, RTSOn, RTSOff)
	return appendLevel(dst, e.Control.Break, BreakOn, BreakOff)
}

func appendControl(dst []byte, c Control) []byte {
	return AppendCommand(dst, Command{Code: SetControl, Value: byte(c)})
}

func appendLevel(dst []byte, l uart.Level, on, off Control) []byte {
	switch l {
	case uart.LevelOn:
		return appendControl(dst, on)
	case uart.LevelOff:
		return appendControl(dst, off)
	}
	return dst
}

// Setting returns, in the fields of an event, what a client's command requests or what a server's command reports as the
// current value. Values that no UART has, and values that only request the current one, leave the field unset.
func (c Command) Setting() (e uart.Event) {
	switch c.Code {
	case SetBaudRate, SetBaudRate + FromServer:
		e.Coding.Baud = c.Baud
	case SetDataSize, SetDataSize + FromServer:
		if c.Value >= 5 && c.Value <= 8 {
			e.Coding.DataBits = c.Value
		}
	case SetParity, SetParity + FromServer:
		if c.Value <= byte(uart.ParitySpace) {
			e.Coding.Parity = uart.Parity(c.Value)
		}
	case SetStopSize, SetStopSize + FromServer:
		if c.Value <= byte(uart.Stop1Half) {
			e.Coding.StopBits = uart.StopBits(c.Value)
		}
	case SetControl, SetControl + FromServer:
		return Control(c.Value).setting()
	}
	return e
}
