package kerneltty

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"telnetcpc/bridge/usb/ftdi"
)

// A tty is the driver's, and the driver may let go of the adapter at any time: it is unbound or its module is removed, the
// device is no longer authorized. The adapter stays plugged in meanwhile, and the tty's number may become another's. So the
// path goes at once, and comes back with the tty that the driver makes when it has the adapter again:
//
//	          the tty is not there any more: no path, nobody is told of anything
//	bound   ----------------------------------------------------------------------->  unbound
//	  ^                                                                                 |
//	  '---- another tty is there: owner and mode, raw, the path leads to it  <----------'
//
// And udev may give the node to others again, as udevadm trigger has it do: it is taken back.

// lookEvery is how often a port looks by itself where the kernel cannot be heard.
const lookEvery = time.Second

// attend looks when there is news of the tty. It is started by Host.Open and ends with Close.
func (p *port) attend(deaf bool) {
	var tick <-chan time.Time
	if deaf {
		p.log.Debug("the kernel does not say what becomes of the device: it is looked at", "every", lookEvery)
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-p.running.Done():
			return
		case <-p.news:
			p.look()
		case <-tick:
			p.look()
		}
	}
}

// tell has the port look. It never waits.
func (p *port) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// concerns reports whether a path below /sys is of the port's device.
func (p *port) concerns(path string) bool {
	a := p.now.Load()
	if a == nil || a.device == "" {
		return false
	}
	rest, ok := strings.CutPrefix(path, strings.TrimPrefix(a.device, p.system.path("sys")))
	return ok && (rest == "" || rest[0] == '/')
}

// look makes path and device what they should be. Who has changed the owner or the mode without udev keeps it so until udev
// has its word again; where nothing can be heard, until the next look.
func (p *port) look() {
	p.plugging.Lock()
	defer p.plugging.Unlock()
	a := p.now.Load()
	if a == nil || p.closed.Load() || p.asleep || a.isGone() {
		return
	}
	if !a.unbound {
		now, t := clock(), a.tty.Load()
		if t == nil {
			return // it was never made ready, and that is said
		}
		if p.system.there(t) {
			a.seen = now
			p.takeBack(t)
			return
		}
		if !p.unbound(a, t) {
			return
		}
	}
	if err := p.rebind(a); err != nil {
		err = fmt.Errorf("not ready again after its driver had let go of it: %w", err)
		p.failed.Store(&err)
		_ = p.Chip.Close()
	}
}

// takeBack gives the node to whom it belongs, after udev.
func (p *port) takeBack(t *tty) {
	switch changed, err := p.system.own(t, p.who); {
	case err == errGone: // which is heard, too
	case err != nil:
		p.log.Warn("the device belongs to others now", "device", t.name, "err", err)
	case changed:
		p.log.Debug("owner and mode set again: udev had changed them", "device", t.name)
	}
}

// unboundSettles is how long a tty may be gone before it is said that the driver is to blame: where the whole device is
// unplugged its wire ends soon after.
const unboundSettles = 300 * time.Millisecond

// unbound is the end of a tty; plugging is held. It is false where the device is leaving, too.
func (p *port) unbound(a *attachment, t *tty) bool {
	a.unbound = true
	p.unlink()
	p.Mute()
	if p.system.find(a.device) == nil {
		select {
		case <-a.gone:
			return false
		case <-p.running.Done():
			return false
		case <-time.After(unboundSettles):
		}
	}
	p.log.Warn("the driver has let go of the device: the path is gone until it has it again",
		"device", t.name, "usb", filepath.Base(a.device), "driver", "ftdi_sio")
	return true
}

// unlink takes the path away, which may lead to another's device at any time.
func (p *port) unlink() {
	if err := p.claim.Unlink(); err != nil {
		p.log.Warn("the path leads nowhere, or to another's device", "err", err)
	}
}

// rebind makes a port of the tty that the driver has made of the adapter again, where it has. An error is for good.
// plugging is held.
func (p *port) rebind(a *attachment) error {
	t := p.system.find(a.device)
	if t == nil {
		// A module that was removed and loaded again has forgotten what it was told.
		if exists(a.device) && p.system.loaded("ftdi_sio") {
			if err := p.system.teach(ftdi.VendorID, ftdi.ProductID); err != nil {
				p.log.Warn("the driver does not take the device again", "err", err)
			}
		}
		return nil
	}
	a.tty.Store(t)
	err := p.makeReady(p.running, a, t)
	switch {
	case err == nil:
		a.unbound = false
		p.log.Info("the driver has the device again", "device", t.name)
		return nil
	case p.running.Err() != nil, a.isGone(), !p.system.there(t): // there is news of that
		return nil
	}
	return err
}

// makeReady makes of a tty, of which nobody is told yet, the port. From the second step on nobody else can open it, and the
// third waits until whoever had it open before has closed it: see Chip.Quiet. The link comes last: who finds it finds
// everything in order.
func (p *port) makeReady(ctx context.Context, a *attachment, t *tty) error {
	if err := p.system.give(ctx, t, p.who, a.seen, p.log); err != nil {
		return err
	}
	if err := p.prepare(ctx, a, t.name, p.Quiet()); err != nil {
		return err
	}
	if !p.system.there(t) {
		return errGone
	}
	if err := p.claim.Link("/dev/"+t.name, -1); err != nil {
		return err
	}
	if a.isGone() || !p.system.there(t) { // serve or nobody has taken it away
		p.unlink()
		return errGone
	}
	return nil
}
