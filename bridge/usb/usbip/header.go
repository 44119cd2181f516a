package usbip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrProtocol is wrapped by every error caused by a host that breaks the protocol or a limit.
var ErrProtocol = errors.New("usbip: protocol broken by the host")

// The commands of the protocol.
const (
	cmdSubmit = 1 // USBIP_CMD_SUBMIT
	cmdUnlink = 2 // USBIP_CMD_UNLINK
	retSubmit = 3 // USBIP_RET_SUBMIT
	retUnlink = 4 // USBIP_RET_UNLINK
)

// headerSize is the length in bytes of every command and answer, without data: basic header, the command's part, padding.
const headerSize = 48

// noPackets is the number_of_packets of a transfer that is not isochronous, according to usbip_protocol.rst; the kernel
// sends 0.
const noPackets = 0xffffffff

// maxTransfer is the longest transfer accepted, in bytes. Drivers of serial adapters use a few hundred.
const maxTransfer = 64 << 10

// command is one CMD_SUBMIT or CMD_UNLINK. Its header, by offset:
//
//	 0 command, seqnum, devid, direction, ep                              usbip_header_basic
//	20 transfer_flags, transfer_buffer_length, start_frame,
//	   number_of_packets, interval, setup (8 bytes)                       CMD_SUBMIT
//	20 seqnum of the victim                                               CMD_UNLINK
//
// All numbers are big-endian, except those in setup.
type command struct {
	code     uint32
	seq      uint32
	in       bool
	endpoint uint8
	length   int    // CMD_SUBMIT: bytes that follow (OUT), or that the host has room for (IN)
	setup    Setup  // CMD_SUBMIT on endpoint 0
	victim   uint32 // CMD_UNLINK
}

// dataLen returns how many bytes of data follow the header.
func (c command) dataLen() int {
	if c.code == cmdSubmit && !c.in {
		return c.length
	}
	return 0
}

// readCommand reads one header. It fails with io.EOF if the stream ends between two commands, with io.ErrUnexpectedEOF if it
// ends within one, and with ErrProtocol.
func readCommand(r io.Reader, header *[headerSize]byte) (command, error) {
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return command{}, err
	}
	return parseCommand(header)
}

// parseCommand parses a header and checks it against the limits. Its errors wrap ErrProtocol.
func parseCommand(header *[headerSize]byte) (command, error) {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(header[4*i:]) }
	c := command{code: word(0), seq: word(1), in: word(3) == 1}
	direction, endpoint := word(3), word(4)
	switch c.code {
	case cmdUnlink:
		c.victim = word(5)
		return c, nil
	case cmdSubmit:
	default:
		return c, fmt.Errorf("%w: command %#x", ErrProtocol, c.code)
	}
	length, packets := word(6), word(8)
	switch {
	case direction > 1:
		return c, fmt.Errorf("%w: direction %d", ErrProtocol, direction)
	case endpoint > 15:
		return c, fmt.Errorf("%w: endpoint %d", ErrProtocol, endpoint)
	case length > maxTransfer:
		return c, fmt.Errorf("%w: a transfer of %d bytes, more than %d", ErrProtocol, length, maxTransfer)
	case packets != 0 && packets != noPackets:
		return c, fmt.Errorf("%w: an isochronous transfer, which this device has no endpoint for", ErrProtocol)
	}
	c.endpoint, c.length = uint8(endpoint), int(length)
	c.setup = parseSetup(header[40:])
	return c, nil
}

// appendRetSubmit appends the header of a RET_SUBMIT: basic header with seqnum alone, status, actual_length.
func appendRetSubmit(dst []byte, seq uint32, status, actual int) []byte {
	return appendAnswer(dst, retSubmit, seq, status, actual)
}

// appendRetUnlink appends a RET_UNLINK.
func appendRetUnlink(dst []byte, seq uint32, status int) []byte {
	return appendAnswer(dst, retUnlink, seq, status, 0)
}

func appendAnswer(dst []byte, code, seq uint32, status, actual int) []byte {
	var h [headerSize]byte
	binary.BigEndian.PutUint32(h[0:], code)
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[20:], uint32(int32(status)))
	binary.BigEndian.PutUint32(h[24:], uint32(actual))
	return append(dst, h[:]...)
}
