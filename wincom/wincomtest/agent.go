package wincomtest

import (
	"encoding/binary"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// agent is an open handle of the agent's end.
type agent struct {
	end     *end
	closed  bool
	stopped bool
}

var _ wincom.Device = (*agent)(nil)

// Read implements wincom.Device.
func (a *agent) Read(p []byte, within time.Duration) (int, error) {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	timedOut := false
	if within >= 0 {
		timer := time.AfterFunc(within, func() {
			pair.mu.Lock()
			defer pair.mu.Unlock()
			timedOut = true
			pair.changed.Broadcast()
		})
		defer timer.Stop()
	}
	for !a.closed && len(a.end.received) == 0 && !timedOut {
		pair.changed.Wait()
	}
	if a.closed {
		return 0, wincom.ErrDeviceClosed
	}
	if pair.MaxRead > 0 {
		p = p[:min(pair.MaxRead, len(p))]
	}
	return a.end.take(p), nil
}

// Write implements wincom.Device.
func (a *agent) Write(p []byte) (int, error) {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	return a.end.write(p, func() error {
		switch {
		case a.closed:
			return wincom.ErrDeviceClosed
		case a.stopped:
			return wincom.ErrStopped
		}
		return nil
	})
}

// StopWrites implements wincom.Device.
func (a *agent) StopWrites(stop bool) {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	a.stopped = stop
	pair.changed.Broadcast()
}

// Close implements wincom.Device.
func (a *agent) Close() error {
	pair := a.end.pair
	pair.mu.Lock()
	defer pair.mu.Unlock()
	if !a.closed {
		a.closed = true
		a.end.closes()
	}
	return nil
}

// Ioctl implements wincom.Device.
func (a *agent) Ioctl(code wincom.Ioctl, in, out []byte) (int, error) {
	e := a.end
	e.pair.mu.Lock()
	defer e.pair.mu.Unlock()
	if a.closed {
		return 0, wincom.ErrDeviceClosed
	}
	switch code {
	case wincom.LsrMstInsert:
		return e.lsrMstInsert(in, out)
	case wincom.GetModemStatus:
		return put(out, binary.LittleEndian.AppendUint32(nil, uint32(e.status)))
	case wincom.GetCommStatus:
		status := make([]byte, 20)
		binary.LittleEndian.PutUint32(status, e.errors)
		binary.LittleEndian.PutUint32(status[8:], uint32(len(e.received)))
		e.errors = 0
		return put(out, status)
	}
	return 0, e.set(code, in)
}

// set performs the requests that return nothing.
func (e *end) set(code wincom.Ioctl, in []byte) error {
	sizes := map[wincom.Ioctl]int{
		wincom.SetBaudRate: 4, wincom.SetQueueSize: 8, wincom.SetLineControl: 3, wincom.SetTimeouts: 20, wincom.Purge: 4,
		wincom.SetChars: 6, wincom.SetHandFlow: 16, wincom.SetModemControl: 4, wincom.SetBreakOn: 0, wincom.SetBreakOff: 0,
		wincom.SetDTR: 0, wincom.ClearDTR: 0, wincom.SetRTS: 0, wincom.ClearRTS: 0,
	}
	size, known := sizes[code]
	switch {
	case !known:
		return ErrInvalid
	case len(in) < size:
		return ErrSmall
	}
	switch code {
	case wincom.SetBaudRate:
		e.setBaud(binary.LittleEndian.Uint32(in))
	case wincom.SetQueueSize:
		e.size = max(e.size, int(binary.LittleEndian.Uint32(in)))
	case wincom.SetLineControl:
		return e.setLine([3]byte(in))
	case wincom.SetChars:
		e.xon, e.xoff = in[4], in[5]
	case wincom.SetHandFlow:
		e.handFlow(binary.LittleEndian.Uint32(in), binary.LittleEndian.Uint32(in[4:]))
	case wincom.SetModemControl:
		e.modemControl(in)
	case wincom.SetBreakOn, wincom.SetBreakOff:
		e.setBreak(code == wincom.SetBreakOn)
	case wincom.SetDTR, wincom.ClearDTR:
		e.setOutputs(all(code == wincom.SetDTR), wincom.OutDTR)
	case wincom.SetRTS, wincom.ClearRTS:
		e.setOutputs(all(code == wincom.SetRTS), wincom.OutRTS)
	case wincom.Purge:
		what := binary.LittleEndian.Uint32(in)
		if what&wincom.PurgeRxClear != 0 {
			e.received = nil
		}
		if what&wincom.PurgeTxClear != 0 {
			e.sent = nil
		}
	}
	e.pair.changed.Broadcast()
	return nil
}

// all returns every output, or none.
func all(on bool) wincom.Output {
	if on {
		return 0xFF
	}
	return 0
}

// handFlow applies SERIAL_DTR_CONTROL and SERIAL_RTS_CONTROL, which take effect at once and at every open.
func (e *end) handFlow(control, replace uint32) {
	e.raises = 0
	if control&3 != 0 {
		e.raises |= wincom.OutDTR
	}
	if replace&0xC0 != 0 {
		e.raises |= wincom.OutRTS
	}
	e.setOutputs(e.raises, wincom.OutDTR|wincom.OutRTS)
}

const signature = "c0c\x00"

func (e *end) modemControl(in []byte) {
	mask := wincom.OutDTR | wincom.OutRTS | wincom.OutOUT1 | wincom.OutOUT2
	if len(in) >= 12 && string(in[8:12]) == signature {
		mask &= wincom.Output(in[4])
	}
	e.setOutputs(wincom.Output(in[0]), mask)
}

// lsrMstInsert performs LSRMST_INSERT, with or without com0com's extension.
func (e *end) lsrMstInsert(in, out []byte) (int, error) {
	if len(in) < 1 {
		return 0, ErrSmall
	}
	caps := e.pair.Caps
	if caps == 0 && e.pair.RefusesInsert {
		return 0, ErrInvalid
	}
	if caps == 0 || len(in) < 9 || string(in[1:5]) != signature {
		e.escape, e.inserts = in[0], wincom.InsertLineStatus|wincom.InsertModemStatus
		return 0, nil
	}
	options := binary.LittleEndian.Uint32(in[5:])
	if options == 0xFFFFFFFF {
		e.escape, e.inserts = 0, 0
		return put(out, binary.LittleEndian.AppendUint32([]byte(signature), caps))
	}
	if options&^caps != 0 || in[0] != 0 && (in[0] == e.xon || in[0] == e.xoff) {
		return 0, ErrInvalid
	}
	var reply []byte
	if options&wincom.InsertGet != 0 {
		reply = e.state(in[0], options)
	}
	if len(reply) > len(out) {
		return 0, ErrSmall
	}
	e.escape, e.inserts = in[0], options&wincom.InsertAll
	if options&wincom.InsertClear != 0 {
		e.received = nil
		e.pair.changed.Broadcast()
	}
	return put(out, reply)
}

// state is what InsertGet returns.
func (e *end) state(escape byte, options uint32) (reply []byte) {
	r := e.peer
	if options&(wincom.InsertLineStatus|wincom.InsertBreakOff) != 0 {
		line := uart.LineTHRE | uart.LineTEMT
		if r.inBreak && options&wincom.InsertBreakOff != 0 {
			line |= uart.LineBreak
		}
		reply = append(reply, escape, 2, byte(line))
	}
	if options&wincom.InsertModemStatus != 0 {
		reply = append(reply, escape, 3, byte(e.status))
	}
	if options&wincom.InsertBaud != 0 {
		reply = binary.LittleEndian.AppendUint32(append(reply, escape, 0x10), r.baud)
	}
	if options&wincom.InsertLineControl != 0 {
		reply = append(reply, escape, 0x11, r.line[2], r.line[1], r.line[0])
	}
	return reply
}

// put returns data from the driver.
func put(out, reply []byte) (int, error) {
	if len(out) < len(reply) {
		return 0, ErrSmall
	}
	return copy(out, reply), nil
}
