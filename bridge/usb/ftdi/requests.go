package ftdi

import "telnetcpc/bridge/uart"

// The names that the adapter shows.
const (
	Manufacturer = "telnetcpc"
	Product      = "telnetcpc serial port"
)

// releaseFT4232H is bcdDevice by which Linux's driver knows the type: high speed, a 120 MHz clock. The
// driver of Linux 5.10 takes an adapter of one port for an FT232RL, of the 48 MHz clock, and makes 9600 of rates above
// 3 Mbaud; see baud.go. Those of 6.1 and 6.12 do not; the ones between were not looked at.
const releaseFT4232H = 0x0800

// The endpoints, and their packets' size in bytes at high speed.
const (
	endpointIn  = 0x81
	endpointOut = 0x02
	maxPacket   = 512
)

// bRequest of the vendor's requests, drivers/usb/serial/ftdi_sio.h: FTDI_SIO_...
const (
	reqReset        = 0x00 // RESET
	reqModemCtrl    = 0x01 // MODEM_CTRL
	reqFlowCtrl     = 0x02 // SET_FLOW_CTRL
	reqBaudRate     = 0x03 // SET_BAUD_RATE
	reqData         = 0x04 // SET_DATA
	reqModemStatus  = 0x05 // GET_MODEM_STATUS
	reqEventChar    = 0x06 // SET_EVENT_CHAR
	reqErrorChar    = 0x07 // SET_ERROR_CHAR
	reqLatencyTimer = 0x09 // SET_LATENCY_TIMER
	reqGetLatency   = 0x0a // GET_LATENCY_TIMER
)

// bmRequestType of them: vendor, device.
const (
	typeOut = 0x40
	typeIn  = 0xc0
)

// wValue of RESET.
const (
	resetSIO     = 0 // RESET_SIO: an open
	resetPurgeRx = 1 // RESET_PURGE_RX: what the application has not read
	resetPurgeTx = 2 // RESET_PURGE_TX: what it wrote
)

// wValue of MODEM_CTRL: the low byte has the levels, the high byte says which of them are meant.
const (
	ctrlDTR     = 0x01
	ctrlRTS     = 0x02
	ctrlSetDTR  = 0x0100
	ctrlSetRTS  = 0x0200
	ctrlAllDown = ctrlSetDTR | ctrlSetRTS
)

// wValue of SET_DATA: data bits in the low byte, and these.
const (
	dataParityShift = 8 // N, O, E, M, S from 0
	dataParityMask  = 0x7
	dataStopShift   = 11 // 1, 1.5, 2 from 0
	dataStopMask    = 0x3
	dataBreak       = 1 << 14 // SET_BREAK
)

// The high byte of wIndex of SET_FLOW_CTRL.
const (
	flowNone    = 0 // DISABLE_FLOW_CTRL
	flowRTSCTS  = 1 // RTS_CTS_HS
	flowDTRDSR  = 2 // DTR_DSR_HS
	flowXonXoff = 4 // XON_XOFF_HS
)

// The first status byte of a packet: modem state, in the bits of uart.ModemState, and one bit that is always set.
const statusReserved = 0x01

// The second status byte: line state, FTDI_RS_..., in the bits of uart.LineState.
const statusEmpty = byte(uart.LineTHRE | uart.LineTEMT)

// defaultLatency is what the latency timer begins with, in milliseconds. Nothing here waits for it: packets leave at
// once.
const defaultLatency = 16

// codingOf decodes wValue of SET_DATA over the baud rate of a coding. false: no UART has it.
func codingOf(value uint16, baud uint32) (coding uart.Coding, ok bool) {
	coding.Baud = baud
	switch bits := uint8(value); bits {
	case 0:
		coding.DataBits = 5 // Linux's driver has no other way to say it
	case 5, 6, 7, 8:
		coding.DataBits = bits
	default:
		return coding, false
	}
	parity := uart.Parity(value>>dataParityShift&dataParityMask) + uart.ParityNone
	if parity > uart.ParitySpace {
		return coding, false
	}
	coding.Parity = parity
	switch value >> dataStopShift & dataStopMask {
	case 0:
		coding.StopBits = uart.Stop1
	case 1:
		coding.StopBits = uart.Stop1Half
	case 2:
		coding.StopBits = uart.Stop2
	default:
		return coding, false
	}
	return coding, true
}

// flowOf decodes the high byte of wIndex of SET_FLOW_CTRL, which has one word for both directions.
func flowOf(index uint16) (uart.Flow, bool) {
	switch index >> 8 {
	case flowNone:
		return uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}, true
	case flowRTSCTS:
		return uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}, true
	case flowDTRDSR:
		return uart.Flow{Out: uart.FlowDSR, In: uart.FlowDTR}, true
	case flowXonXoff:
		return uart.Flow{Out: uart.FlowXonXoff, In: uart.FlowXonXoff}, true
	}
	return uart.Flow{}, false
}

// controlOf decodes wValue of MODEM_CTRL: what is not meant is not said.
func controlOf(value uint16) (c uart.Control) {
	if value&ctrlSetDTR != 0 {
		c.DTR = uart.LevelOf(value&ctrlDTR != 0)
	}
	if value&ctrlSetRTS != 0 {
		c.RTS = uart.LevelOf(value&ctrlRTS != 0)
	}
	return c
}
