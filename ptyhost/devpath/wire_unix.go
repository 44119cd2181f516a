//go:build linux || darwin || freebsd

package devpath

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// The protocol between the agent and its watcher: a message is a head and two texts; an answer is the number of the
// link. It uses a stream socket because macOS has no other kind of local socket that reports the end of its peer.

// op is what has happened to a link.
type op uint32

const (
	opMade    op = iota + 1 // it was made; with the descriptor of a master if it leads to a pty
	opMoved                 // it is gone, and its pty will be closed soon: close the master, and keep the number in use for a while
	opClosed                // likewise, and answer
	opRetired               // it is gone, and its pty stays open: close the master, and answer
	opNotMade               // it could not be made, and its pty stays open: close the master
)

// link is a link that the watcher removes after the agent has ended.
type link struct {
	path, text string
	master     int // -1: none
}

// headSize is the size of a message's head: op, the number of the link, the lengths of both texts.
const headSize = 4 + 8 + 4 + 4

// maxText bounds a text, in bytes: no system accepts longer paths (PATH_MAX is 4096 on Linux, 1024 elsewhere).
const maxText = 4096

var errWire = errors.New("the watcher's socket: incomplete message")

// send sends one message. It blocks at most for the socket's SO_SNDTIMEO.
func send(socket int, what op, id uint64, h link) error {
	m := binary.NativeEndian.AppendUint32(make([]byte, 0, headSize+len(h.path)+len(h.text)), uint32(what))
	m = binary.NativeEndian.AppendUint64(m, id)
	m = binary.NativeEndian.AppendUint32(m, uint32(len(h.path)))
	m = binary.NativeEndian.AppendUint32(m, uint32(len(h.text)))
	m = append(append(m, h.path...), h.text...)
	var rights []byte
	if h.master >= 0 {
		rights = unix.UnixRights(h.master)
	}
	for {
		n, err := unix.SendmsgN(socket, m, rights, nil, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ETOOMANYREFS && rights != nil: // too many descriptors in flight: the link is watched, but its number is not kept in use
			rights = nil
			continue
		case err == nil && n < len(m):
			return errWire
		}
		return err
	}
}

// receive waits for one message. The error is io.EOF when the other end is closed. The caller closes h.master unless it
// is -1.
func receive(socket int) (what op, id uint64, h link, err error) {
	h.master = -1
	head := make([]byte, headSize)
	if err := fill(socket, head, &h.master); err != nil {
		return 0, 0, h, err
	}
	what, id = op(binary.NativeEndian.Uint32(head)), binary.NativeEndian.Uint64(head[4:])
	path, text := binary.NativeEndian.Uint32(head[12:]), binary.NativeEndian.Uint32(head[16:])
	if path > maxText || text > maxText {
		return 0, 0, h, errWire
	}
	rest := make([]byte, path+text)
	if err := fill(socket, rest, &h.master); err != nil {
		return 0, 0, h, err
	}
	h.path, h.text = string(rest[:path]), string(rest[path:])
	return what, id, h, nil
}

// fill reads exactly len(p) bytes, and stores a descriptor that was sent with them in fd.
func fill(socket int, p []byte, fd *int) error {
	rights := make([]byte, unix.CmsgSpace(4))
	for len(p) > 0 {
		n, m, _, _, err := unix.Recvmsg(socket, p, rights, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if messages, err := unix.ParseSocketControlMessage(rights[:m]); err == nil && len(messages) == 1 {
			if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
				*fd = fds[0]
			}
		}
		if n == 0 {
			return io.EOF
		}
		p = p[n:]
	}
	return nil
}

// sendAnswer confirms that the duplicate of a link's master is closed.
func sendAnswer(socket int, id uint64) {
	_, _ = unix.Write(socket, binary.NativeEndian.AppendUint64(nil, id))
}

// awaitAnswer waits for the answer of sendAnswer, at most for the socket's SO_RCVTIMEO.
func awaitAnswer(socket int, id uint64) error {
	p := make([]byte, 8)
	none := -1
	if err := fill(socket, p, &none); err != nil {
		return err
	}
	if binary.NativeEndian.Uint64(p) != id {
		return errWire
	}
	return nil
}

// newWire returns both ends of a stream socket. Sends and receives on ours time out after watcherPatience.
func newWire() (ours, theirs int, err error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, -1, err
	}
	patience := unix.NsecToTimeval(int64(watcherPatience))
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fds[0], unix.SOL_SOCKET, option, &patience); err != nil {
			_ = unix.Close(fds[0])
			_ = unix.Close(fds[1])
			return -1, -1, err
		}
	}
	return fds[0], fds[1], nil
}
