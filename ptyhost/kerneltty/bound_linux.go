package kerneltty

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"telnetcpc/bridge/usb/ftdi"
)

// A tty belongs to the driver, and the driver may release the adapter at any time: it is unbound, its module is removed, or
// the device is no longer authorized. The adapter stays plugged in meanwhile, and another device may get the tty's number. So
// the path is removed at once, and made again with the tty that the driver makes when it has the adapter again:
//
//	          the tty is gone: no path, no events to the application
//	bound   --------------------------------------------------------------->  unbound
//	  ^                                                                          |
//	  '---- there is another tty: owner and mode, raw, the path leads to it  <---'
//
// And udev may change the node's owner again, as udevadm trigger makes it do: the port sets it back.

// checkEvery is how often a port checks by itself if there are no events from the kernel.
const checkEvery = time.Second

// attend checks the tty when it may have changed. It is a goroutine that Host.Open starts and Close ends.
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

// wake has attend check. It never waits.
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

// check makes path and device what they should be. A change of owner or mode by anything but udev remains until udev's next
// change; without events, until the next check.
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
			return // it was never made ready, which was reported
		}
		if p.system.present(t) {
			a.seen = now
			p.takeBack(t)
			return
		}
		if !p.unbound(a, t) {
			return
		}
	}
	if err := p.rebind(a); err != nil {
		err = fmt.Errorf("not ready again after its driver released it: %w", err)
		p.failed.Store(&err)
		_ = p.Chip.Close()
	}
}

// takeBack sets the node's owner and mode again, after udev.
func (p *port) takeBack(t *tty) {
	switch changed, err := p.system.setAccess(t, p.access); {
	case err == errGone: // there will be an event
	case err != nil:
		p.log.Warn("cannot set owner and mode of the device again, after udev has changed them", "device", t.name, "err", err)
	case changed:
		p.log.Debug("owner and mode set again: udev had changed them", "device", t.name)
	}
}

// unboundSettles is how long a tty must be gone before the driver counts as the cause: if the whole device is unplugged, its
// wire ends soon after the tty.
const unboundSettles = 300 * time.Millisecond

// unbound handles the end of a tty; the caller holds plugging. It returns false if the device is leaving too.
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
	p.log.Warn("the driver has released the device: its path is removed until the driver has it again",
		"device", t.name, "usb", filepath.Base(a.device), "driver", "ftdi_sio")
	return true
}

// unlink removes the path, which could otherwise lead to another device at any time.
func (p *port) unlink() {
	if err := p.claim.Unlink(); err != nil {
		p.log.Warn("the path leads nowhere, or to another device", "err", err)
	}
}

// rebind makes a port of the tty that the driver has made of the adapter again, if it has. After an error the port is lost for
// good. The caller holds plugging.
func (p *port) rebind(a *attachment) error {
	t := p.system.find(a.device)
	if t == nil {
		// A module that was removed and loaded again has lost the ids that were registered.
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

// makeReady makes the port of a tty that no application knows yet. From the second step on no other user can open it, and the
// third waits until programs that had it open before have closed it: see Chip.Quiet. The link comes last, so a program that
// finds it finds a complete port.
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
	if a.isGone() || !p.system.present(t) { // serve has removed the path already, or nothing has
		p.unlink()
		return errGone
	}
	return nil
}
