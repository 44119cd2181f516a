package kerneltty

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"telnetcpc/bridge/usb/ftdi"
)

// The driver makes the tty, and it may release the adapter at any time: it is unbound, its module is removed, or the
// device is deauthorized. The adapter stays plugged in meanwhile, and another device may get the tty's number. So the
// path is removed at once, and made again for the new tty when the driver is bound to the adapter again:
//
// the tty is gone: the path is removed, Next reports nothing
//	bound   --------------------------------------------------------------->  unbound
//	  ^                                                                          |
// '---- there is a new tty: owner, mode, raw; the path leads to it <--------'
//
// udev may change the node's owner again, for example after udevadm trigger: the port sets it back.

// checkEvery is how often a port checks without an event, if the kernel's events cannot be received.
const checkEvery = time.Second

// attend checks the tty whenever it may have changed. It is a goroutine that Host.Open starts and Close ends.
func (p *port) attend(noEvents bool) {
	var tick <-chan time.Time
	if noEvents {
		p.log.Debug("no events about devices from the kernel: checking the device regularly", "every", checkEvery)
		ticker := time.NewTicker(checkEvery)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-p.running.Done():
			return
		case <-p.changed:
			p.check()
		case <-tick:
			p.check()
		}
	}
}

// wake makes attend check. It never blocks.
func (p *port) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// concerns reports whether a path below /sys belongs to the port's device.
func (p *port) concerns(path string) bool {
	a := p.now.Load()
	if a == nil || a.device == "" {
		return false
	}
	rest, ok := strings.CutPrefix(path, strings.TrimPrefix(a.device, p.system.path("sys")))
	return ok && (rest == "" || rest[0] == '/')
}

// check makes path, owner and mode match the current tty. A change of owner or mode that sends no event (chmod) remains
// until the next event; if there are no events, until the next tick.
func (p *port) check() {
	p.plugging.Lock()
	defer p.plugging.Unlock()
	a := p.now.Load()
	if a == nil || p.closed.Load() || p.asleep || a.isGone() {
		return
	}
	if !a.unbound {
		now, t := clock(), a.tty.Load()
		if t == nil {
			return // plugIn has failed, and has returned the error
		}
		if p.system.present(t) {
			a.seen = now
			p.restoreAccess(t)
			return
		}
		if !p.handleUnbound(a, t) {
			return
		}
	}
	if err := p.rebind(a); err != nil {
		err = fmt.Errorf("not ready again after its driver released it: %w", err)
		p.failed.Store(&err)
		_ = p.Chip.Close()
	}
}

// restoreAccess sets the node's owner and mode again after udev has changed them.
func (p *port) restoreAccess(t *tty) {
	switch changed, err := p.system.setAccess(t, p.access); {
	case err == errGone: // an event follows
	case err != nil:
		p.log.Warn("cannot set owner and mode of the device again, after udev has changed them", "device", t.name, "err", err)
	case changed:
		p.log.Debug("owner and mode set again: udev had changed them", "device", t.name)
	}
}

// unboundSettles is how long a tty must be gone before the driver counts as the cause: if the whole device is
// unplugged, its socket is closed soon after the tty is gone.
const unboundSettles = 300 * time.Millisecond

// handleUnbound handles the end of a tty; the caller holds plugging. It returns false if the whole device is being
// unplugged.
func (p *port) handleUnbound(a *attachment, t *tty) bool {
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
	p.log.Warn("the driver has released the device: its path is removed until the driver has it again",
		"device", t.name, "usb", filepath.Base(a.device), "driver", "ftdi_sio")
	return true
}

// unlink removes the path, which could otherwise lead to another device at any time.
func (p *port) unlink() {
	if err := p.claim.Unlink(); err != nil {
		p.log.Warn("cannot remove the path: it leads nowhere, or to another device", "err", err)
	}
}

// rebind makes the port ready again with the driver's new tty, if there is one. After an error the port is lost for
// good. The caller holds plugging.
func (p *port) rebind(a *attachment) error {
	t := p.system.find(a.device)
	if t == nil {
		// A module that was removed and loaded again has lost the registered ids.
		if exists(a.device) && p.system.loaded("ftdi_sio") {
			if err := p.system.register(ftdi.VendorID, ftdi.ProductID); err != nil {
				p.log.Warn("the driver cannot take the device again", "err", err)
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
	case p.running.Err() != nil, a.isGone(), !p.system.present(t): // check will be called again
		return nil
	}
	return err
}

// makeReady makes a new tty the port: owner and mode first, so that no other user can open it; then the termios, which
// waits until programs that had the tty open before have closed it (see Chip.Quiet); the link last, so that a program
// which finds it finds a complete port.
func (p *port) makeReady(ctx context.Context, a *attachment, t *tty) error {
	if err := p.system.giveAccess(ctx, t, p.access, a.seen, p.log); err != nil {
		return err
	}
	if err := p.prepare(ctx, a, t.name, p.Quiet()); err != nil {
		return err
	}
	if !p.system.present(t) {
		return errGone
	}
	if err := p.claim.Link("/dev/"+t.name, -1); err != nil {
		return err
	}
	if a.isGone() || !p.system.present(t) { // the path may have been made after serve removed it
		p.unlink()
		return errGone
	}
	return nil
}
