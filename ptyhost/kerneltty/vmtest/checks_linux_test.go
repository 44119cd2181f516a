package vmtest

import (
	"os"
	"os/exec"
	"testing"
)

// runChecks is the test inside.
func runChecks(t *testing.T) {
	t.Run("modprobe", func(t *testing.T) {
		out, err := exec.Command("modprobe", "-a", "vhci_hcd", "ftdi_sio").CombinedOutput()
		if err != nil {
			t.Errorf("%v %s", err, out)
		}
		b, err := os.ReadFile("/sys/devices/platform/vhci_hcd.0/status")
		t.Logf("%s %v", b, err)
	})
}
