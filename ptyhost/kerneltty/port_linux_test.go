package kerneltty

import (
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/devpath"
)

// Close returns after closePatience if the kernel does not remove the device, also during a Sleep that waits for it.
func TestCloseIsBounded(t *testing.T) {
	dir := t.TempDir()
	for _, asleep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			claim, err := devpath.Take(filepath.Join(dir, "ttyV0"))
			if err != nil {
				t.Fatal(err)
			}
			p := newPort(newFake(t).system, claim, devpath.Access{}, uart.PortConfig{Log: slog.New(slog.DiscardHandler)})
			a := &attachment{device: dir, gone: make(chan struct{})} // dir stays
			close(a.gone)
			p.now.Store(a)
			if asleep {
				go p.Sleep()
				synctest.Wait()
			}
			began := time.Now()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took < closePatience || took > closePatience+time.Second {
				t.Errorf("asleep %v: the close took %v, want %v", asleep, took, closePatience)
			}
		})
	}
}
