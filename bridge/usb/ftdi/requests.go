package ftdi

import "telnetcpc/bridge/uart"

// The strings in the adapter's device descriptor.
const (
	Manufacturer = "telnetcpc"
	Product      = "telnetcpc serial port"
)

// releaseFT4232H is the bcdDevice by which Linux's driver recognises the type: high speed, a 120 MHz clock. The driver of Linux
// 5.10 takes an adapter with one port for an FT232RL, with a 48 MHz clock, and replaces rates above 3 Mbaud by 9600; see
// baud.go. Those of 6.1 and 6.12 do not; the versions in between were not checked.
const releaseFT4232H = 0x0800

// The endpoints, and their packet size in bytes at high speed.
const (
	endpointIn  = 0x81
	endpointOut = 0x02
	maxPacket   = 512
)

// bRequest of the vendor requests: FTDI_SIO_... in drivers/usb/serial/ftdi_sio.h.
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

// bmRequestType of the vendor requests: vendor, device.
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

// wValue of MODEM_CTRL: the low byte has the levels, the high byte selects which of them to set.
const (
	ctrlDTR     = 0x01
	ctrlRTS     = 0x02
	ctrlSetDTR  = 0x0100
	ctrlSetRTS  = 0x0200
	ctrlAllDown = ctrlSetDTR | ctrlSetRTS
)

// wValue of SET_DATA: the low byte is the number of data bits; the fields above it.
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

// defaultLatency is the initial value of the latency timer, in milliseconds. Nothing here uses it: packets leave at once.
const defaultLatency = 16

// codingOf decodes wValue of SET_DATA, and adds baud. false: no UART has this coding.
func codingOf(value uint16, baud uint32) (coding uart.Coding, ok bool) {
	coding.Baud = baud
	switch bits := uint8(value); bits {
	case 0:
		coding.DataBits = 5 // Linux's driver sends 0 for CS5
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

// flowOf decodes the high byte of wIndex of SET_FLOW_CTRL, which sets both directions. false: the method is unknown.
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

// controlOf decodes wValue of MODEM_CTRL: lines that it does not set stay unset.
func controlOf(value uint16) (c uart.Control) {
	if value&ctrlSetDTR != 0 {
		c.DTR = uart.LevelOf(value&ctrlDTR != 0)
	}
	if value&ctrlSetRTS != 0 {
		c.RTS = uart.LevelOf(value&ctrlRTS != 0)
	}
	return c
}
