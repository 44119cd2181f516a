package usbip

import "encoding/binary"

// Standard requests: USB 2.0, table 9-4.
const (
	getStatus        = 0
	clearFeature     = 1
	setFeature       = 3
	setAddress       = 5
	getDescriptor    = 6
	getConfiguration = 8
	setConfiguration = 9
	getInterface     = 10
	setInterface     = 11
)

// endpointHalt is the feature ENDPOINT_HALT: USB 2.0, table 9-6.
const endpointHalt = 0

// standard is the state that the standard requests of endpoint 0 read and change. It needs no lock: only Serve's
// goroutine uses it.
type standard struct {
	table      Table
	configured uint8
	halted     map[uint8]bool // endpoints, by address
}

// perform performs a standard request. false: the device does not support it, so it must be stalled.
func (d *standard) perform(s Setup) (data []byte, ok bool) {
	switch s.Type & recipientMask {
	case recipientDevice:
		data, ok = d.deviceRequest(s)
	case recipientInterface:
		data, ok = d.interfaceRequest(s)
	case recipientEndpoint:
		data, ok = d.endpointRequest(s)
	}
	if ok && s.In() != (data != nil) {
		return nil, false // the direction is wrong
	}
	return data, ok
}

func (d *standard) deviceRequest(s Setup) ([]byte, bool) {
	switch s.Request {
	case getStatus:
		return []byte{0, 0}, true // bus powered, no remote wakeup
	case setAddress:
		return nil, true // only the host's controller uses it
	case getDescriptor:
		data := d.descriptor(uint8(s.Value>>8), uint8(s.Value))
		return data, data != nil
	case getConfiguration:
		return []byte{d.configured}, true
	case setConfiguration:
		if s.Value != 0 && s.Value != configurationValue {
			return nil, false
		}
		d.configured = uint8(s.Value)
		clear(d.halted)
		return nil, true
	}
	return nil, false
}

func (d *standard) descriptor(kind, number uint8) []byte {
	switch {
	case kind == descriptorDevice && number == 0:
		return d.table.device()
	case kind == descriptorConfiguration && number == 0:
		return d.table.configuration()
	case kind == descriptorString:
		return d.table.stringDescriptor(number)
	}
	return nil
}

func (d *standard) interfaceRequest(s Setup) ([]byte, bool) {
	if s.Index != 0 {
		return nil, false // there is one interface
	}
	switch s.Request {
	case getStatus:
		return []byte{0, 0}, true
	case getInterface:
		return []byte{0}, true
	case setInterface:
		clear(d.halted)
		return nil, s.Value == 0 // it has one setting
	}
	return nil, false
}

func (d *standard) endpointRequest(s Setup) ([]byte, bool) {
	address := uint8(s.Index)
	control := address&0x0f == 0
	if s.Index > 0xff || !control && !d.table.has(address) {
		return nil, false
	}
	switch s.Request {
	case getStatus:
		var status uint16
		if d.halted[address] {
			status = 1
		}
		return binary.LittleEndian.AppendUint16(nil, status), true
	case clearFeature:
		delete(d.halted, address)
		return nil, s.Value == endpointHalt
	case setFeature:
		if control || s.Value != endpointHalt {
			return nil, false
		}
		d.halted[address] = true
		return nil, true
	}
	return nil, false
}
