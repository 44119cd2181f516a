package ftdi

import "telnetcpc/bridge/ordered"

// mark says that one byte came with an error, or is a break's: line state bits, FTDI_RS_OE, PE, FE, BI.
type mark struct {
	at   uint64 // position of the byte
	line byte
}

// downQueue is what the device sent and no transfer has taken: bytes, some of them marked. The zero value is empty. It
// has no lock.
type downQueue struct {
	bytes ordered.FIFO
	end   uint64 // position behind the last byte
	marks []mark
}

func (q *downQueue) len() int { return q.bytes.Len() }

// push appends bytes; line, where not zero, marks the first of them.
func (q *downQueue) push(p []byte, line byte) {
	if len(p) > 0 && line != 0 {
		q.marks = append(q.marks, mark{q.end, line})
	}
	q.bytes.Push(p)
	q.end += uint64(len(p))
}

func (q *downQueue) clear() {
	q.bytes.Clear()
	q.marks = nil
}

// packets appends what a transfer of at most room bytes carries: packets that begin with two status bytes. All but the
// last are full. A marked byte is alone in its packet, because the error that a packet reports is of all its bytes, and
// so ends the transfer. n is how many bytes of the queue are in it; they stay there until skip.
func (q *downQueue) packets(dst []byte, room int, modem, line byte) (p []byte, n int) {
	data := q.bytes.Peek()
	start := q.end - uint64(len(data))
	for {
		size := min(len(data)-n, room-2, maxPacket-2)
		err := byte(0)
		if size > 0 && len(q.marks) > 0 {
			if before := int(q.marks[0].at - start - uint64(n)); before == 0 {
				size, err = 1, q.marks[0].line
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

// skip takes the bytes of the last packets out.
func (q *downQueue) skip(n int) {
	q.bytes.Skip(n)
	start := q.end - uint64(q.bytes.Len())
	for len(q.marks) > 0 && q.marks[0].at < start {
		q.marks = q.marks[1:]
	}
}
