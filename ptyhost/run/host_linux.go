//go:build amd64 || arm64

package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/aside"
	"telnetcpc/ptyhost/devpath"
)

// hostName is the host's name in logs and errors.
const hostName = "run"

// fidelity is what ports carry for the programs that were started here.
const fidelity = uart.FullFidelity

// Host makes the port of the programs that it starts. It has one port at a time, which may be opened again after its
// Close. All methods may be called from any goroutine.
type Host struct {
	// Constant.
	as    []string
	log   *slog.Logger
	ready chan struct{} // closed when the first port is there

	children children
	lookups  lookups

	// mu guards everything below. It is taken while a port's lock is held, never the other way round.
	mu sync.Mutex

	port   *port            // that paths lead to; nil: none
	names  *names           // its names
	slave  fileID           // its slave; zero: none
	ports  map[fileID]*port // by their slaves, until they are closed
	shared []*pathCallTable // the memory shared with each standby

	waiting       map[uint32]waitingCall  // calls that wait, by thread
	lateResponses map[uint32]lateResponse // responses that came too late, by thread

	warnedUnreadable bool
}

var _ uart.Host = (*Host)(nil)

// New returns a host. as are absolute paths, or patterns of path.Match, that lead programs to the port, whether or not
// something exists there; the error names an invalid one. log is for warnings that the user should see; nil means
// slog.Default().
func New(as []string, log *slog.Logger) (*Host, error) {
	if err := checkPaths(as); err != nil {
		return nil, err
	}
	h := &Host{
		as: withResolvedDirectories(as), log: aside.Logger(log), ready: make(chan struct{}),
		ports: map[fileID]*port{}, waiting: map[uint32]waitingCall{}, lateResponses: map[uint32]lateResponse{},
	}
	return h, h.setPort(nil)
}

// Name implements uart.Host: "run".
func (*Host) Name() string { return hostName }

// Fidelity implements uart.Host.
func (*Host) Fidelity() uart.Fidelity { return fidelity }

// Open implements uart.Host. For owner, group, mode and path see package ptyhost.
func (h *Host) Open(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := h.openPort(config)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", config.Path, err)
	}
	return p, nil
}

// openPort makes a port. The link comes last: whoever finds it finds a complete port.
func (h *Host) openPort(config uart.PortConfig) (*port, error) {
	access, err := devpath.LookUp(config.Owner, config.Group, config.Mode)
	if err != nil {
		return nil, err
	}
	where, err := absPath(config.Path)
	if err != nil {
		return nil, err
	}
	claim, err := devpath.Take(where)
	if err != nil {
		return nil, err
	}
	p, err := newPort(h, claim, access, config)
	if err != nil {
		_ = claim.Release()
		return nil, err
	}
	if err := h.setPort(p); err != nil {
		_ = p.Close()
		return nil, err
	}
	if err := claim.Link(p.Name(), p.terminal().Master()); err != nil {
		_ = p.Close()
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ready:
	default:
		close(h.ready)
	}
	return p, nil
}

// busy reports whether a program has the port open, or something that programs wrote has not been taken yet.
func (h *Host) busy() bool {
	h.mu.Lock()
	p := h.port
	h.mu.Unlock()
	return p != nil && p.busy()
}

// setPort makes p the port that paths lead to; nil: none.
func (h *Host) setPort(p *port) error {
	var own []string
	if p != nil {
		own = ownNames(p.claim.Path()) // before h.mu, because it may block on file systems
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p != nil && h.port != nil {
		return errors.New("these programs have a port already (run another telnetcpc)")
	}
	h.port, h.names = p, newNames(h.as, own)
	if p == nil {
		h.slave = fileID{}
		return nil // standbys keep the last slave
	}
	h.ports[p.id] = p // under h.mu only: nobody else has p yet
	h.slave = p.id
	h.publishSlave()
	return nil
}

// retire removes the port from paths; programs that have it open keep it.
func (h *Host) retire(p *port) {
	h.mu.Lock()
	known := h.port == p
	h.mu.Unlock()
	if known {
		_ = h.setPort(nil)
	}
}

// forget removes the port from descriptors, too.
func (h *Host) forget(p *port) {
	h.retire(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.ports, func(_ fileID, known *port) bool { return known == p })
}

// replaceSlave makes the port known by its current slave instead of the last one, after a hangup. It does nothing for a
// port that is forgotten or not known yet: the number of its slave will soon be another terminal's.
func (h *Host) replaceSlave(p *port, last fileID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[last] != p {
		return
	}
	delete(h.ports, last)
	h.ports[p.id] = p
	if h.port == p {
		h.slave = p.id
		h.publishSlave()
	}
}

// current returns the port that paths lead to, its names and its slave. p is nil if there is none.
func (h *Host) current() (p *port, n *names, slave fileID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.port, h.names, h.slave
}

// portOf returns the port with this slave; nil if there is none.
func (h *Host) portOf(id fileID) *port {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ports[id]
}

// ioctl performs an ioctl on the port. The kernel performs all others.
func (h *Host) ioctl(c *call) {
	fd := int32(c.n.Data.Args[0])
	id, err := c.fileOf(fd)
	if errors.Is(err, errNeedStat) {
		if !h.lookups.start(func() {
			id, err := c.statFD(fd)
			h.ioctlOn(c, id, err)
		}) {
			c.continueInKernel()
		}
		return
	}
	h.ioctlOn(c, id, err)
}

// ioctlOn performs an ioctl on a file; err is why the file is unknown.
func (h *Host) ioctlOn(c *call, id fileID, err error) {
	if err != nil {
		h.warnUnreadable(err)
		c.continueInKernel()
		return
	}
	p := h.portOf(id)
	if p == nil || !touchesMemory(uint32(c.n.Data.Args[1])) && !c.valid() { // else readArg and writeResult check that
		c.continueInKernel()
		return
	}
	p.ioctl(c, id)
}

// warnUnreadable logs, once, that a program cannot be inspected.
func (h *Host) warnUnreadable(err error) {
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return
	}
	h.mu.Lock()
	warned := h.warnedUnreadable
	h.warnedUnreadable = true
	h.mu.Unlock()
	if !warned {
		h.log.Warn("cannot inspect a program; it sees an ordinary pty", "err", err)

	}
}
