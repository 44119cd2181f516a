package ftdi

import "telnetcpc/bridge/ordered"

// flaggedByte is a byte that was received with an error, or the zero byte of a break.
type flaggedByte struct {
	at   uint64 // position of the byte
	line byte   // line state bits: FTDI_RS_OE, PE, FE, BI
}

// downQueue holds bytes from the device that no transfer has carried yet, some of them flagged. The zero value is
// empty. Its caller locks.
type downQueue struct {
	bytes   ordered.FIFO
	end     uint64 // position after the last byte
	flagged []flaggedByte
}

func (q *downQueue) len() int { return q.bytes.Len() }

// push appends bytes; line, if not zero, flags the first of them.
func (q *downQueue) push(p []byte, line byte) {
	if len(p) > 0 && line != 0 {
		q.flagged = append(q.flagged, flaggedByte{q.end, line})
	}
	q.bytes.Push(p)
	q.end += uint64(len(p))
}

func (q *downQueue) clear() {
	q.bytes.Clear()
	q.flagged = nil
}

// packets appends the packets of a transfer of at most room bytes, each with two status bytes first. All but the last are full.
// A flagged byte is alone in its packet, since a packet's error is that of all its bytes, and so ends the transfer. n is how
// many bytes of the queue are in the packets; they stay in the queue until skip.
func (q *downQueue) packets(dst []byte, room int, modem, line byte) (p []byte, n int) {
	data := q.bytes.Peek()
	start := q.end - uint64(len(data))
	for {
		size := min(len(data)-n, room-2, maxPacket-2)
		err := byte(0)
		if size > 0 && len(q.flagged) > 0 {
			if before := int(q.flagged[0].at - start - uint64(n)); before == 0 {
				size, err = 1, q.flagged[0].line
			} else {
				size = min(size, before)
			}
		}
		size = max(size, 0)
		dst = append(dst, modem, line|err)
		dst = append(dst, data[n:n+size]...)
		n += size
		room -= maxPacket
		if size < maxPacket-2 || err != 0 || n == len(data) || room < 3 {
			return dst, n
		}
	}
}

// skip removes the first n bytes: those of the last packets.
func (q *downQueue) skip(n int) {
	q.bytes.Skip(n)
	start := q.end - uint64(q.bytes.Len())
	for len(q.flagged) > 0 && q.flagged[0].at < start {
		q.flagged = q.flagged[1:]
	}
}
