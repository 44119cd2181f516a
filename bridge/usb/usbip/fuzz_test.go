package usbip_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"telnetcpc/bridge/usb/usbip"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// FuzzHeaders: whatever a host sends, the stream ends with an error of a known kind, and the device's answers do not depend on
// how the bytes are split.
func FuzzHeaders(f *testing.F) {
	status := usbiptest.Header(1, 7, 1, 0)
	status[27], status[40], status[46] = 2, 0x80, 2
	send := append(usbiptest.Header(1, 8, 0, 2), "abc"...)
	send[27] = 3
	receive := usbiptest.Header(1, 9, 1, 1)
	receive[27] = 64
	unlink := usbiptest.Header(2, 10, 0, 0)
	unlink[23] = 9
	f.Add(status)
	f.Add(bytes.Join([][]byte{receive, status, send, unlink}, nil))
	f.Add(bytes.Join([][]byte{receive, unlink, send, receive}, nil))
	f.Add(append(send, status[:20]...))
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		run := func(r io.Reader) (string, error) {
			conn := &script{Reader: r}
			err := usbip.New(conn, table, &loop{}).Serve()
			return conn.String(), err
		}
		whole, err := run(bytes.NewReader(data))
		if err != nil && !errors.Is(err, usbip.ErrProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want nil, ErrUnexpectedEOF or ErrProtocol", err)
		}
		cut, cutErr := run(iotest.OneByteReader(bytes.NewReader(data)))
		if whole != cut || (err == nil) != (cutErr == nil) {
			t.Errorf("whole: %x, %v; cut: %x, %v", whole, err, cut, cutErr)
		}
		if limit := 2 << 20; len(whole) > limit {
			t.Errorf("%d bytes of answers", len(whole))
		}
	})
}
