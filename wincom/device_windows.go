package wincom

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// handle is a Device on Windows: one overlapped handle, and an event for each kind of request. An os.File would make reads
// and writes of a character device wait for each other.
type handle struct {
	h       windows.Handle
	closing windows.Handle // event: Close was called
	stopped windows.Handle // event: StopWrites(true) was called

	read, write, ioctl request

	// Guarded by read.mu. A read that timed out stays pending in the driver for the next Read, with a buffer of its own:
	// cancelling it might lose a byte.
	buf     [readSize]byte
	pending bool
	unread  []byte // part of buf: what did not fit into the caller's buffer

	closed    atomic.Bool  // set before the event closing
	inUse     sync.RWMutex // read-locked by every call that uses the handles; Close locks it before it closes them
	closeOnce sync.Once
}

// request is the state of one kind of overlapped request. Windows writes into it, so it must not move.
type request struct {
	mu         sync.Mutex // serialises requests of this kind; guards the rest
	overlapped windows.Overlapped
	event      windows.Handle
	done       uint32 // bytes transferred
}

var _ Device = (*handle)(nil)

// openDevice opens a serial port by name: COM9, CNCB0.
func openDevice(name string) (Device, error) {
	path, err := windows.UTF16PtrFromString(`\\.\` + name)
	if err != nil {
		return nil, err
	}
	d := &handle{}
	d.h, err = windows.CreateFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_OVERLAPPED, 0)
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED), errors.Is(err, windows.ERROR_SHARING_VIOLATION):
		return nil, ErrBusy
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
		return nil, ErrNoDevice
	case err != nil:
		return nil, err
	}
	for _, event := range []*windows.Handle{&d.closing, &d.stopped, &d.read.event, &d.write.event, &d.ioctl.event} {
		const manualReset, signalled = 1, 0
		if *event, err = windows.CreateEvent(nil, manualReset, signalled, nil); err != nil {
			d.release()
			return nil, fmt.Errorf("create an event: %w", err)
		}
	}
	return d, nil
}

// release closes the handles.
func (d *handle) release() {
	for _, h := range []windows.Handle{d.h, d.closing, d.stopped, d.read.event, d.write.event, d.ioctl.event} {
		if h != 0 {
			_ = windows.CloseHandle(h)
		}
	}
}

// Close implements Device. No new call starts, blocked ones are woken and cancel their requests, then the handles are
// closed.
func (d *handle) Close() error {
	d.closeOnce.Do(func() {
		d.closed.Store(true)
		_ = windows.SetEvent(d.closing)
		d.inUse.Lock()
		defer d.inUse.Unlock()
		if d.pending { // until it is cancelled, Windows may write into buf
			_ = windows.CancelIoEx(d.h, &d.read.overlapped)
			_ = windows.GetOverlappedResult(d.h, &d.read.overlapped, &d.read.done, true)
		}
		d.release()
	})
	return nil
}

// enter begins a call that uses the handles, unless the device is closed. leave ends it.
func (d *handle) enter() error {
	d.inUse.RLock()
	if d.closed.Load() {
		d.inUse.RUnlock()
		return ErrDeviceClosed
	}
	return nil
}

func (d *handle) leave() { d.inUse.RUnlock() }

// Read implements Device.
func (d *handle) Read(p []byte, within time.Duration) (int, error) {
	if err := d.enter(); err != nil {
		return 0, err
	}
	defer d.leave()
	if len(p) == 0 {
		return 0, nil
	}
	d.read.mu.Lock()
	defer d.read.mu.Unlock()
	if len(d.unread) == 0 {
		if err := d.receive(within); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.unread)
	d.unread = d.unread[n:]
	return n, nil
}

// receive fills unread; it stays empty if nothing arrives in time.
func (d *handle) receive(within time.Duration) error {
	r := &d.read
	if !d.pending {
		err := windows.ReadFile(d.h, d.buf[:], &r.done, r.begin())
		if err != nil && !errors.Is(err, windows.ERROR_IO_PENDING) {
			return err
		}
		d.pending = true
	}
	state, err := windows.WaitForMultipleObjects([]windows.Handle{r.event, d.closing}, false, milliseconds(within))
	switch {
	case err != nil:
		return err
	case state == uint32(windows.WAIT_TIMEOUT):
		return nil
	case state != windows.WAIT_OBJECT_0:
		_ = windows.CancelIoEx(d.h, &r.overlapped)
	}
	d.pending = false
	err = windows.GetOverlappedResult(d.h, &r.overlapped, &r.done, true)
	switch {
	case d.closed.Load():
		return ErrDeviceClosed
	case errors.Is(err, syscall.Errno(windows.WAIT_TIMEOUT)): // in Wine: the driver ended the read
		return nil
	case err != nil:
		return err
	}
	d.unread = d.buf[:r.done]
	return nil
}

// Write implements Device.
func (d *handle) Write(p []byte) (int, error) {
	if err := d.enter(); err != nil {
		return 0, err
	}
	defer d.leave()
	if len(p) == 0 {
		return 0, nil
	}
	if state, _ := windows.WaitForSingleObject(d.stopped, 0); state == windows.WAIT_OBJECT_0 {
		return 0, ErrStopped
	}
	r := &d.write
	r.mu.Lock()
	defer r.mu.Unlock()
	err := windows.WriteFile(d.h, p, &r.done, r.begin())
	n, woken, err := d.finish(r, err, r.event, d.closing, d.stopped)
	runtime.KeepAlive(first(p))
	switch {
	case n == len(p) && err == nil:
		return n, nil
	case woken && d.closed.Load():
		return n, ErrDeviceClosed
	case woken:
		return n, ErrStopped
	case err == nil:
		err = fmt.Errorf("%d of %d bytes written", n, len(p))
	}
	return n, err
}

// StopWrites implements Device.
func (d *handle) StopWrites(stop bool) {
	if d.enter() != nil {
		return
	}
	defer d.leave()
	if stop {
		_ = windows.SetEvent(d.stopped)
	} else {
		_ = windows.ResetEvent(d.stopped)
	}
}

// Ioctl implements Device.
func (d *handle) Ioctl(code Ioctl, in, out []byte) (int, error) {
	if err := d.enter(); err != nil {
		return 0, err
	}
	defer d.leave()
	r := &d.ioctl
	r.mu.Lock()
	defer r.mu.Unlock()
	err := windows.DeviceIoControl(d.h, uint32(code), first(in), uint32(len(in)), first(out), uint32(len(out)), &r.done, r.begin())
	n, woken, err := d.finish(r, err, r.event, d.closing)
	runtime.KeepAlive(first(in))
	runtime.KeepAlive(first(out))
	if woken && err != nil {
		return 0, ErrDeviceClosed
	}
	return n, err
}

// first returns the address of a buffer; nil if it is empty.
func first(p []byte) *byte {
	if len(p) == 0 {
		return nil
	}
	return &p[0]
}

// begin resets the request for its next use.
func (r *request) begin() *windows.Overlapped {
	r.overlapped, r.done = windows.Overlapped{HEvent: r.event}, 0
	return &r.overlapped
}

// finish waits for a request whose call returned err. events[0] signals its completion; if another event is signalled
// first, finish cancels the request and woken is true. n is the number of bytes transferred in either case.
func (d *handle) finish(r *request, err error, events ...windows.Handle) (n int, woken bool, _ error) {
	if err != nil && !errors.Is(err, windows.ERROR_IO_PENDING) {
		return 0, false, err
	}
	if err != nil {
		state, err := windows.WaitForMultipleObjects(events, false, windows.INFINITE)
		if woken = err != nil || state != windows.WAIT_OBJECT_0; woken {
			_ = windows.CancelIoEx(d.h, &r.overlapped)
		}
	}
	err = windows.GetOverlappedResult(d.h, &r.overlapped, &r.done, true)
	return int(r.done), woken, err
}

// milliseconds converts a duration to a timeout of Windows; negative: no limit.
func milliseconds(d time.Duration) uint32 {
	if d < 0 {
		return windows.INFINITE
	}
	return uint32(min((d + time.Millisecond - 1).Milliseconds(), math.MaxUint32-1))
}
