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

// hostName is this host's word in log and errors.
const hostName = "run"

// carried is what ports carry for the programs that were started here.
const carried = uart.FullFidelity

// Host makes the port of programs that it starts: one port at a time, made anew after a hangup. Any goroutine may use it.
type Host struct {
	as  []string
	log *slog.Logger

	children children
	ready    chan struct{} // closed when the first port is there
	lookUps  lookUps

	mu        sync.Mutex              // over all below; taken under a port's lock, never the other way round
	port      *port                   // that paths lead to; nil: there is none now
	ports     map[fileID]*port        // by their slaves, until they are closed
	slave     fileID                  // of port; zero: there is none
	names     *names                  // that are the port's
	guards    []*held                 // what is shared with each guard
	waiting   map[uint32]interruption // calls that wait, by their threads
	late      map[uint32]answered     // answers that came too late, likewise
	saidBlind bool
}

var _ uart.Host = (*Host)(nil)

// New returns a host. as are absolute paths, or patterns of path.Match, that are the port for the programs, whether or not
// something is there; the error names one that is wrong. log takes what a user should know; nil: slog.Default().
func New(as []string, log *slog.Logger) (*Host, error) {
	if err := checkPaths(as); err != nil {
		return nil, err
	}
	h := &Host{
		as: withDirectories(as), log: aside.Logger(log), ready: make(chan struct{}),
		ports: map[fileID]*port{}, waiting: map[uint32]interruption{}, late: map[uint32]answered{},
	}
	return h, h.setPort(nil)
}

// Name implements uart.Host: "run".
func (*Host) Name() string { return hostName }

// Fidelity implements uart.Host.
func (*Host) Fidelity() uart.Fidelity { return carried }

// Open implements uart.Host. Owner, group, mode and path are those of a pty; see ptyhost.
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

// openPort makes a port. The link comes last: who finds it finds everything in order.
func (h *Host) openPort(config uart.PortConfig) (*port, error) {
	who, err := devpath.LookUp(config.Owner, config.Group, config.Mode)
	if err != nil {
		return nil, err
	}
	where, err := absolute(config.Path)
	if err != nil {
		return nil, err
	}
	claim, err := devpath.Take(where)
	if err != nil {
		return nil, err
	}
	p, err := newPort(h, claim, who, config)
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

// Ready is closed when the first port is there.
func (h *Host) Ready() <-chan struct{} { return h.ready }

// Adopt makes this process the parent of everything that its programs leave behind. It must have no children but the
// host's, and is called before Start.
func (h *Host) Adopt() error { return h.children.adopt() }

// Busy reports whether a program has the port open, or what programs wrote is not yet carried on.
func (h *Host) Busy() bool {
	h.mu.Lock()
	p := h.port
	h.mu.Unlock()
	return p != nil && p.busy()
}

// setPort makes p the port of the programs.
func (h *Host) setPort(p *port) error {
	var own []string
	if p != nil {
		own = literally(p.claim.Path()) // before the lock: it looks at file systems
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p != nil && h.port != nil {
		return errors.New("these programs have a port already (run another telnetcpc)")
	}
	h.port, h.names = p, newNames(h.as, own)
	if p == nil {
		h.slave = fileID{}
		return nil // guards know the last one
	}
	h.ports[p.id] = p // nobody else has p yet
	h.slave = p.id
	h.tellGuards()
	return nil
}

// retire takes the port away from paths; who has it open keeps it.
func (h *Host) retire(p *port) {
	h.mu.Lock()
	known := h.port == p
	h.mu.Unlock()
	if known {
		_ = h.setPort(nil)
	}
}

// forget takes the port away from descriptors too.
func (h *Host) forget(p *port) {
	h.retire(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.ports, func(_ fileID, known *port) bool { return known == p })
}

// replace makes the port's present slave known, in the place of another. Of a port that is forgotten, or not known yet,
// nothing is: the number of its slave is soon another terminal's.
func (h *Host) replace(p *port, last fileID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[last] != p {
		return
	}
	delete(h.ports, last)
	h.ports[p.id] = p
	if h.port == p {
		h.slave = p.id
		h.tellGuards()
	}
}

// led is the port that paths lead to, by which names, and its slave. p is nil where there is none now.
func (h *Host) led() (p *port, n *names, slave fileID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.port, h.names, h.slave
}

// has is the port whose slave a file is, or nil.
func (h *Host) has(id fileID) *port {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ports[id]
}

// ioctl performs an ioctl on the port, and lets the kernel perform all others.
func (h *Host) ioctl(c *call) {
	fd := int32(c.n.Data.Args[0])
	id, err := c.descriptor(fd)
	if errors.Is(err, errAsk) {
		if !h.lookUps.do(func() {
			id, err := c.ask(fd)
			h.ioctlOn(c, id, err)
		}) {
			c.proceed()
		}
		return
	}
	h.ioctlOn(c, id, err)
}

// ioctlOn performs an ioctl on a file.
func (h *Host) ioctlOn(c *call, id fileID, err error) {
	if err != nil {
		h.unreadable(err)
		c.proceed()
		return
	}
	p := h.has(id)
	if p == nil || !touchesMemory(uint32(c.n.Data.Args[1])) && !c.valid() { // else take and give look
		c.proceed()
		return
	}
	p.ioctl(c, id)
}

// unreadable says once that a program cannot be looked into.
func (h *Host) unreadable(err error) {
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return
	}
	h.mu.Lock()
	said := h.saidBlind
	h.saidBlind = true
	h.mu.Unlock()
	if !said {
		h.log.Warn("a program does not let itself be looked into: for it the port is an ordinary pseudo-terminal", "err", err)
	}
}
