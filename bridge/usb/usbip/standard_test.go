package usbip_test

import (
	"bytes"
	"testing"

	"telnetcpc/bridge/usb/usbip"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// TestStandardRequests: the requests of a host that has found a device, and wrong ones, in one sequence.
func TestStandardRequests(t *testing.T) {
	device := []byte{18, 1, 0, 2, 0, 0, 0, 64, 0x09, 0x12, 1, 0, 0, 8, 1, 2, 3, 1}
	config := []byte{
		9, 2, 32, 0, 1, 1, 0, 0x80, 50,
		9, 4, 0, 0, 2, 0xff, 0xff, 0xff, 2,
		7, 5, 0x81, 2, 0, 2, 0,
		7, 5, 0x02, 2, 0, 2, 0,
	}
	get := func(request uint8, value, index, length uint16) usbip.Setup {
		return usbip.Setup{Type: 0x80, Request: request, Value: value, Index: index, Length: length}
	}
	set := func(request uint8, value, index uint16) usbip.Setup {
		return usbip.Setup{Request: request, Value: value, Index: index}
	}
	at := func(recipient uint8, s usbip.Setup) usbip.Setup {
		s.Type |= recipient
		return s
	}
	const stall = usbiptest.StatusStall
	h := plugIn(t, &loop{})
	for _, tt := range []struct {
		name   string
		setup  usbip.Setup
		want   []byte
		status int
	}{
		{"device", get(6, 0x0100, 0, 64), device, 0},
		{"device, first bytes", get(6, 0x0100, 0, 8), device[:8], 0},
		{"address", set(5, 3, 0), nil, 0},
		{"configuration, first bytes", get(6, 0x0200, 0, 9), config[:9], 0},
		{"configuration", get(6, 0x0200, 0, 255), config, 0},
		{"second configuration", get(6, 0x0201, 0, 255), nil, stall},
		{"languages", get(6, 0x0300, 0, 255), []byte{4, 3, 9, 4}, 0},
		{"manufacturer", get(6, 0x0301, 0x409, 255), []byte{12, 3, 'm', 0, 'a', 0, 'k', 0, 'e', 0, 'r', 0}, 0},
		{"name", get(6, 0x0302, 0x409, 255), []byte{10, 3, 'n', 0, 0xe4, 0, 'm', 0, 'e', 0}, 0},
		{"serial", get(6, 0x0303, 0x409, 255), []byte{12, 3, 't', 0, 't', 0, 'y', 0, 'V', 0, '0', 0}, 0},
		{"no such string", get(6, 0x0304, 0x409, 255), nil, stall},
		{"device qualifier", get(6, 0x0600, 0, 10), nil, stall},
		{"not configured", get(8, 0, 0, 1), []byte{0}, 0},
		{"no such configuration", set(9, 2, 0), nil, stall},
		{"configure", set(9, 1, 0), nil, 0},
		{"configured", get(8, 0, 0, 1), []byte{1}, 0},
		{"status", get(0, 0, 0, 2), []byte{0, 0}, 0},
		{"remote wakeup", set(3, 1, 0), nil, stall},
		{"interface status", at(1, get(0, 0, 0, 2)), []byte{0, 0}, 0},
		{"interface", at(1, get(10, 0, 0, 1)), []byte{0}, 0},
		{"set interface", at(1, set(11, 0, 0)), nil, 0},
		{"no such setting", at(1, set(11, 1, 0)), nil, stall},
		{"no such interface", at(1, get(10, 0, 1, 1)), nil, stall},
		{"unknown interface request", at(1, set(17, 0, 0)), nil, stall},
		{"endpoint status", at(2, get(0, 0, 0x81, 2)), []byte{0, 0}, 0},
		{"halt", at(2, set(3, 0, 0x81)), nil, 0},
		{"halted", at(2, get(0, 0, 0x81, 2)), []byte{1, 0}, 0},
		{"clear the halt", at(2, set(1, 0, 0x81)), nil, 0},
		{"not halted", at(2, get(0, 0, 0x81, 2)), []byte{0, 0}, 0},
		{"halt endpoint 0", at(2, set(3, 0, 0)), nil, stall},
		{"no such endpoint", at(2, get(0, 0, 0x83, 2)), nil, stall},
		{"unknown endpoint request", at(2, set(12, 0, 0x81)), nil, stall},
		{"other recipient", at(3, get(0, 0, 0, 2)), nil, stall},
		{"wrong direction", usbip.Setup{Type: 0x80, Request: 9, Value: 1}, nil, stall},
		{"descriptor sent", set(6, 0x0100, 0), nil, stall},
		{"vendor", usbip.Setup{Type: 0xc0, Request: 7, Length: 3}, []byte{7, 7, 7}, 0},
		{"class", usbip.Setup{Type: 0xa1, Request: 7, Length: 1}, []byte{7}, 0},
		{"unknown vendor request", usbip.Setup{Type: 0xc0, Request: 9, Length: 3}, nil, stall},
	} {
		got, status := h.Control(tt.setup, nil)
		if status != tt.status || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: got % x, status %d; want % x, status %d", tt.name, got, status, tt.want, tt.status)
		}
	}
}

// TestHaltedEndpoint: transfers stall until the halt is cleared; so do those of endpoints that do not exist.
func TestHaltedEndpoint(t *testing.T) {
	h := plugIn(t, &loop{})
	h.Control(usbip.Setup{Type: 2, Request: 3, Index: 2}, nil)
	for _, u := range []*usbiptest.URB{out("x"), {Endpoint: 3, Data: []byte("x")}, {Endpoint: 2, In: true, Room: 1}} {
		h.Submit(u)
		u.Wait()
		if u.Status != usbiptest.StatusStall {
			t.Errorf("endpoint %d: status %d", u.Endpoint, u.Status)
		}
	}
	h.Control(usbip.Setup{Type: 2, Request: 1, Index: 2}, nil)
	i, o := in(8), out("y")
	h.Submit(i)
	h.Submit(o)
	i.Wait()
	if string(i.Data) != "y" {
		t.Errorf("after the halt: got %q", i.Data)
	}
	o.Wait()
}

// TestControlData: a request may carry data.
func TestControlData(t *testing.T) {
	h := plugIn(t, &loop{})
	if _, status := h.Control(usbip.Setup{Type: 0x40, Request: 8, Length: 4}, []byte("data")); status != 0 {
		t.Errorf("status %d", status)
	}
	u := in(8)
	h.Submit(u)
	u.Wait()
	if string(u.Data) != "data" {
		t.Errorf("the device got %q", u.Data)
	}
}

func TestSetupString(t *testing.T) {
	s := usbip.Setup{Type: 0x40, Request: 3, Value: 0x4138, Index: 0x101, Length: 2}
	if got, want := s.String(), "40 03 value 4138 index 0101 length 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
