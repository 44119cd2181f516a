package usbip

import (
	"encoding/binary"
	"unicode/utf16"
)

// Table is the contents of a device's descriptors. The device is a USB 2.0 device with one configuration of one
// interface of the vendor-specific class, with bulk endpoints.
type Table struct {
	Vendor  uint16 // idVendor
	Product uint16 // idProduct
	Release uint16 // bcdDevice

	// Strings, truncated to maxStringUnits; empty: the device has none.
	Manufacturer, Name, Serial string

	Endpoints []Endpoint
}

// Endpoint is a bulk endpoint.
type Endpoint struct {
	Address   uint8  // number, with 0x80 for IN
	MaxPacket uint16 // bytes
}

// Descriptor types: USB 2.0, table 9-5.
const (
	descriptorDevice        = 1
	descriptorConfiguration = 2
	descriptorString        = 3
	descriptorInterface     = 4
	descriptorEndpoint      = 5
)

// The indices of the strings, and the value of the configuration in SET_CONFIGURATION.
const (
	stringLanguages = iota
	stringManufacturer
	stringName
	stringSerial

	configurationValue = 1
)

const (
	usbRelease       = 0x0200 // bcdUSB
	controlMaxPacket = 64     // bMaxPacketSize0
	classVendor      = 0xff   // bInterfaceClass
	attributesBus    = 0x80   // bmAttributes: bus powered, no remote wakeup
	maxPower         = 50     // bMaxPower, in units of 2 mA
	transferBulk     = 2      // bmAttributes of an endpoint
	englishUS        = 0x0409 // the language of the strings
	maxStringUnits   = 126    // UTF-16 units, as a descriptor's length is one byte
)

// device returns the device descriptor: USB 2.0, table 9-8.
func (t Table) device() []byte {
	d := []byte{18, descriptorDevice}
	d = binary.LittleEndian.AppendUint16(d, usbRelease)
	d = append(d, 0, 0, 0, controlMaxPacket)
	for _, n := range []uint16{t.Vendor, t.Product, t.Release} {
		d = binary.LittleEndian.AppendUint16(d, n)
	}
	for i, s := range []string{t.Manufacturer, t.Name, t.Serial} {
		if s == "" {
			d = append(d, 0)
		} else {
			d = append(d, byte(stringManufacturer+i))
		}
	}
	return append(d, 1) // bNumConfigurations
}

// configuration returns the configuration descriptor with those of interface and endpoints: USB 2.0, tables 9-10, 9-12, 9-13.
func (t Table) configuration() []byte {
	d := []byte{9, descriptorConfiguration, 0, 0, 1, configurationValue, 0, attributesBus, maxPower}
	d = append(d, 9, descriptorInterface, 0, 0, byte(len(t.Endpoints)), classVendor, classVendor, classVendor, stringName)
	if t.Name == "" {
		d[len(d)-1] = 0
	}
	for _, e := range t.Endpoints {
		d = append(d, 7, descriptorEndpoint, e.Address, transferBulk)
		d = binary.LittleEndian.AppendUint16(d, e.MaxPacket)
		d = append(d, 0) // bInterval
	}
	binary.LittleEndian.PutUint16(d[2:], uint16(len(d)))
	return d
}

// stringDescriptor returns a string descriptor, or nil if there is none with this index: USB 2.0, 9.6.7.
func (t Table) stringDescriptor(number uint8) []byte {
	var s string
	switch number {
	case stringLanguages:
		return binary.LittleEndian.AppendUint16([]byte{4, descriptorString}, englishUS)
	case stringManufacturer:
		s = t.Manufacturer
	case stringName:
		s = t.Name
	case stringSerial:
		s = t.Serial
	}
	if s == "" {
		return nil
	}
	units := utf16.Encode([]rune(s))
	units = units[:min(len(units), maxStringUnits)]
	d := []byte{byte(2 + 2*len(units)), descriptorString}
	for _, u := range units {
		d = binary.LittleEndian.AppendUint16(d, u)
	}
	return d
}

// has reports whether there is an endpoint with this address.
func (t Table) has(address uint8) bool {
	for _, e := range t.Endpoints {
		if e.Address == address {
			return true
		}
	}
	return false
}
